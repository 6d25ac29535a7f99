"""Where things lie in this repository."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
PROGRAMS = ROOT / "data" / "programs"
C_PROGRAMS = PROGRAMS / "c"
C_SOURCES = TESTS / "objects"  # sources that only tests compile
ROW_TABLES = TESTS / "rows"
CONFORMANCE = TESTS / "engines" / "conformance.toml"
VERIFIER_LOGS = TESTS / "verifier" / "logs"
JAVASCRIPT = TESTS / "widgets" / "js"
