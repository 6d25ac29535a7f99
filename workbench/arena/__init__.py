"""The arena: rules, pages and faults, allocation, and the user's view."""

from workbench.arena.arena import Arena
from workbench.arena.rules import ArenaFlags
from workbench.arena.snapshot import Snapshot
from workbench.arena.user import UserView

__all__ = ["Arena", "ArenaFlags", "Snapshot", "UserView"]
