"""The plugin system: hook specifications and the registries that plugins fill."""
