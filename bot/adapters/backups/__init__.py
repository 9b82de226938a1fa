"""Backups made by pg_dump: where they lie, and whether they can be read to their end."""

from bot.adapters.backups.folder import FolderShelf as FolderShelf
from bot.adapters.backups.shelves import ServiceBackups as ServiceBackups
from bot.adapters.backups.shelves import Shelved as Shelved
