"""From a TOML file to a validated, frozen scenario."""
