"""The judges: slow machines and other people's tools that find the same answer another way."""
