"""Configuration: TOML files overridden by the environment, validated at start (:mod:`alphapulse.config.settings`)."""

from alphapulse.config.access_settings import AccessSettings
from alphapulse.config.section import Section
from alphapulse.config.settings import (
    FILES,
    PREFIX,
    ClickHouseSettings,
    FreshnessSettings,
    GatewaySettings,
    KafkaSettings,
    LogSettings,
    OpsSettings,
    ParquetSettings,
    ProcessorSettings,
    PublisherSettings,
    RegistrySettings,
    Settings,
    TopicsSettings,
    TracingSettings,
    VenueRules,
    VenueSettings,
    environment,
    load,
)

__all__ = [
    "FILES",
    "PREFIX",
    "AccessSettings",
    "ClickHouseSettings",
    "FreshnessSettings",
    "GatewaySettings",
    "KafkaSettings",
    "LogSettings",
    "OpsSettings",
    "ParquetSettings",
    "ProcessorSettings",
    "PublisherSettings",
    "RegistrySettings",
    "Section",
    "Settings",
    "TopicsSettings",
    "TracingSettings",
    "VenueRules",
    "VenueSettings",
    "environment",
    "load",
]
