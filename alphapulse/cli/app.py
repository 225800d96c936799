"""Commands and options of the command line; each command is implemented in the module of its name."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from alphapulse import config, simulated
from alphapulse.cli.query_command import QueryCommand
from alphapulse.errors import ArgumentsRefused, ValueRefused
from alphapulse.instruments import check_symbol, check_venue
from alphapulse.version import SOURCE_TREE, installed_version

app = typer.Typer(
    name="alphapulse",
    help="Real-time market data: exchange feeds in; books, signals, SQL tables, Parquet files and live pages out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
broker_app = typer.Typer(help="Run a broker on this machine until the command ends.", no_args_is_help=True)
topics_app = typer.Typer(help="Manage the topics on the broker.", no_args_is_help=True)
schemas_app = typer.Typer(help="Register and check schemas.", no_args_is_help=True)
app.add_typer(broker_app, name="broker")
app.add_typer(topics_app, name="topics")
app.add_typer(schemas_app, name="schemas")
clickhouse_app = typer.Typer(help="Migrate, inspect and limit the ClickHouse tables.", no_args_is_help=True)
app.add_typer(clickhouse_app, name="clickhouse")


def _folder(text: str | Path) -> Path:
    """Return ``text`` as a folder; an empty text would be the current folder by accident."""
    if not str(text).strip():
        raise typer.BadParameter("expected a folder, found an empty text")
    folder = Path(text)
    try:
        if folder.is_file():
            raise typer.BadParameter(f"{folder} is a file, not a folder")
    except OSError as error:
        raise typer.BadParameter(f"{folder}: {error.strerror or error}") from error
    return folder


Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="Folder with services.toml and exchanges.toml.",
        show_default=False,
        parser=_folder,
        metavar="DIR",
    ),
]
BrokerDataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        help="Where data and run files go.",
        show_default="as configured",
        parser=_folder,
        metavar="DIR",
    ),
]
DataDir = Annotated[
    Path, typer.Option("--data-dir", help="Where data, logs and run files go.", parser=_folder, metavar="DIR")
]


class SinkName(Enum):
    """Available sinks."""

    CLICKHOUSE = "clickhouse"
    PARQUET = "parquet"


class Nodes(Enum):
    """Cluster sizes."""

    ONE = "1"
    THREE = "3"


class Broker(Enum):
    """Brokers for the demo."""

    EMBEDDED = "embedded"
    KAFKA = "kafka"


class AclFormat(Enum):
    """Output formats of ``acls``."""

    TABLE = "table"
    JSON = "json"
    KAFKA_ACLS = "kafka-acls"
    RPK = "rpk"


def _tell_version(wanted: bool) -> None:
    if wanted:
        version = installed_version()
        uninstalled = "alphapulse, from a source tree that is not installed"
        print(uninstalled if version == SOURCE_TREE else f"alphapulse {version}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_tell_version)
]


@app.callback()
def options(configuration: Config = None, version: Version = False) -> None:
    """Real-time market data on a Kafka log."""
    if configuration is not None:
        os.environ[f"{config.PREFIX}CONFIG"] = str(configuration)


@app.command()
def demo(
    data_dir: DataDir = Path("data/demo"),
    port: Annotated[int, typer.Option(help="Port of the page and the API.", min=0, max=65535)] = 8000,
    venues: Annotated[str, typer.Option(help="Simulated venues, comma-separated.")] = simulated.VENUES,
    symbols: Annotated[str, typer.Option(help="Symbols, comma-separated.")] = simulated.SYMBOLS,
    seed: Annotated[int, typer.Option(help="Seed of the simulated market.")] = 7,
    broker: Annotated[
        Broker, typer.Option(help="'embedded': in memory; 'kafka': Apache Kafka, kept between runs (needs Java).")
    ] = Broker.EMBEDDED,
) -> None:
    """Run the whole pipeline on this machine: broker, simulated venues, every service, the page."""
    from alphapulse.cli.demo import Demo

    faults: list[str] = []
    chosen_venues = _names(venues, "--venues", check_venue, faults)
    chosen_symbols = _names(symbols, "--symbols", check_symbol, faults)
    if not faults:
        from alphapulse.cli.market import check_market

        faults = check_market(chosen_venues, chosen_symbols)
    if faults:
        raise ArgumentsRefused(faults)
    if broker is Broker.KAFKA:
        from alphapulse.brokers.kafka.install import install, tell_download

        install(downloading=tell_download)  # before any service starts and waits for it

    wanted = Demo(
        data_dir=data_dir,
        port=port,
        venues=chosen_venues,
        symbols=chosen_symbols,
        seed=seed,
        broker=broker.value,
    )
    sys.exit(asyncio.run(wanted.run()))


@app.command()
def replay(
    recordings: Annotated[list[Path], typer.Argument(help="Recordings (.rec or .rec.gz).", show_default=False)],
    data_dir: Annotated[
        Path | None,
        typer.Option(
            help="Folder for tables and files; must be new or empty.",
            show_default="data/replay/TIME",
            parser=_folder,
            metavar="DIR",
        ),
    ] = None,
    speed: Annotated[str, typer.Option(help="'max', or a multiple of the original pace such as 1 or 10.")] = "max",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object to standard output.")] = False,
    venue: Annotated[
        str | None, typer.Option(help="Venue of the recordings, if their file names do not begin with it.")
    ] = None,
    symbols: Annotated[
        str,
        typer.Option(help="Symbols (BTC-XYZ) that cannot be derived from the venue's names, comma-separated."),
    ] = "",
) -> None:
    """Replay recordings through the whole pipeline into tables and files, and print a summary."""
    from alphapulse.cli.replay import Replay, check_speed

    faults: list[str] = []
    chosen = _names(symbols, "--symbols", check_symbol, faults) if symbols else ()
    if faults:
        raise ArgumentsRefused(faults)
    wanted = Replay(
        recordings=tuple(recordings),
        data_dir=data_dir,
        speed=check_speed(speed),
        json=json,
        venue=venue,
        symbols=chosen,
    )
    sys.exit(asyncio.run(wanted.run()))


@app.command()
def collect(
    venues: Annotated[
        list[str] | None, typer.Argument(help="Venues of exchanges.toml.", show_default="all enabled")
    ] = None,
) -> None:
    """Collect from venues: one process each, under one supervisor; follows the configuration files."""
    _become("producers.collect", "--", *(venues or []))


@app.command()
def check() -> None:
    """Check the configuration, including the venues' rules, and list all errors."""
    _become("producers.check")


@app.command()
def process() -> None:
    """Run the stream processors."""
    _become("stream_processors")


@app.command()
def sink(target: Annotated[SinkName, typer.Argument(help="Where records go.", show_default=False)]) -> None:
    """Run a sink."""
    _become("sinks", target.value)


@app.command()
def gateway() -> None:
    """Run the gateway: REST, WebSocket and the page."""
    _become("gateway")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def keys(context: typer.Context) -> None:
    """Create, list and revoke API keys of the gateway's clients: `keys create NAME --scope …` (more: `keys --help`)."""
    _become("gateway.access", *context.args)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def record(context: typer.Context) -> None:
    """Record what venues send, for replays: `record VENUE… [--out DIR]` (more: `record --help`)."""
    _become("producers.record", *context.args)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def simulate(context: typer.Context) -> None:
    """Run simulated venues; inject faults with --faults FILE, --fault-probability P (more: `simulate --help`)."""
    _become("producers.simulator", *context.args)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def parquet(context: typer.Context) -> None:
    """List, compact, verify and retire Parquet files: `parquet ls|compact|verify|retain` (more: `parquet --help`)."""
    _become("sinks.parquet", *context.args)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def load(context: typer.Context) -> None:
    """Load vendors' files or recordings, each row once: `load csv|recording FILE…` (more: `load --help`)."""
    _become("sinks.load", *context.args)


@app.command(cls=QueryCommand)
def sql(
    query: Annotated[
        str | None,
        typer.Argument(
            help="A SELECT, SHOW, DESCRIBE or EXPLAIN, or the name of a query of the library.",
            show_default="a shell on a terminal, else standard input",
        ),
    ] = None,
    data_dir: DataDir = Path("data/demo"),
    format: Annotated[  # noqa: A002 the option's name
        str | None,
        typer.Option(
            help="table, csv, json, parquet, arrow or any ClickHouse output format, unless the query names one.",
            show_default="table on a terminal, else TSVWithNames",
        ),
    ] = None,
    file: Annotated[
        str | None, typer.Option("--file", "-f", help="File that holds the query.", metavar="FILE", show_default=False)
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option(
            "--param", "-p", help="Value of {NAME:Type} in the query.", metavar="NAME=VALUE", show_default=False
        ),
    ] = None,
    list_queries: Annotated[bool, typer.Option("--list", help="Show the queries of the library.")] = False,
) -> None:
    """Query the tables in a data directory, during and after a run; without a query, a shell (docs/sql.md)."""
    database = config.load().clickhouse.database
    chosen = format or ("table" if sys.stdout is not None and sys.stdout.isatty() else "TSVWithNames")
    options = ["--data-dir", str(data_dir), "--database", database, "--format", chosen]
    # Joined to their names: a value may begin with a hyphen.
    options += [f"--file={file}"] if file is not None else []
    options += [f"--param={text}" for text in param or ()]
    options += ["--list"] if list_queries else []
    _become("sinks.clickhouse.query", *options, *(("--", query) if query is not None else ()))


EmbeddedDatabase = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        help="The embedded database of this data directory.",
        show_default="the database configured",
        parser=_folder,
        metavar="DIR",
    ),
]
ServerWait = Annotated[
    float, typer.Option("--wait", help="Seconds to wait for a server that does not answer.", min=0, show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object to standard output.")]


@clickhouse_app.command("migrate")
def clickhouse_migrate(data_dir: EmbeddedDatabase = None, wait: ServerWait = 0.0, json: Json = False) -> None:
    """Apply pending migrations, add columns for new fields, create tables that were dropped. Safe to repeat."""
    _administer("migrate", data_dir, wait, json)


@clickhouse_app.command("ttl")
def clickhouse_ttl(data_dir: EmbeddedDatabase = None, wait: ServerWait = 0.0, json: Json = False) -> None:
    """Set how long rows are kept, as `clickhouse.ttl_days` says. Older rows are removed. Safe to repeat."""
    _administer("ttl", data_dir, wait, json)


@clickhouse_app.command("status")
def clickhouse_status(data_dir: EmbeddedDatabase = None, wait: ServerWait = 0.0, json: Json = False) -> None:
    """Show rows, parts, migrations and TTLs; exit code 1 if something is not as configured."""
    _administer("status", data_dir, wait, json)


def _administer(command: str, data_dir: Path | None, wait: float, json: bool) -> NoReturn:
    folder = () if data_dir is None else ("--data-dir", str(data_dir))
    _become("sinks.clickhouse.admin", command, "--wait", str(wait), *folder, *(("--json",) if json else ()))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def dlq(context: typer.Context) -> None:
    """List, show, replay and drop dead letters: `dlq list --reason TEXT`, `dlq replay` (more: `dlq --help`)."""
    _become("sinks.dead_letters", *context.args)


@broker_app.command("embedded")
def embedded_broker(data_dir: BrokerDataDir = None) -> None:
    """Run the in-memory broker: starts at once, keeps 8 MB per partition, keeps nothing after it ends."""
    _choose_data_dir(data_dir)
    _become("alphapulse.brokers.memory.broker")


@broker_app.command("kafka")
def kafka_broker(
    nodes: Annotated[Nodes, typer.Option(help="With 3 nodes no record is lost when one dies.")] = Nodes.ONE,
    port: Annotated[
        int | None,
        typer.Option(
            help="Port of node 1; the others follow.", min=1, max=65533, show_default="as before, or any free one"
        ),
    ] = None,
    data_dir: BrokerDataDir = None,
    clean: Annotated[bool, typer.Option("--clean", help="Start with an empty log.")] = False,
) -> None:
    """Run Apache Kafka; data is kept in DATA_DIR/kafka. Needs Java 17; the first run downloads Kafka with Maven."""
    _choose_data_dir(data_dir)
    arguments = ("--nodes", nodes.value, "--port", str(port or 0))
    _become("alphapulse.brokers.kafka.service", *arguments, *(("--clean",) if clean else ()))


@app.command()
def init(
    wait: Annotated[float, typer.Option(help="Seconds to wait for each server that does not answer.", min=0)] = 60.0,
) -> None:
    """Prepare a deployment: topics with their retention, schemas, ClickHouse tables. Safe to repeat."""
    from alphapulse.cli.init import init as prepare

    sys.exit(asyncio.run(prepare(config.load(), wait)))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def health(context: typer.Context) -> None:
    """Ask running services whether they are ready: `health [URL…]` (more: `health --help`)."""
    from alphapulse.cli.health import main

    sys.exit(main(context.args))


@app.command()
def acls(
    services: Annotated[
        list[str] | None, typer.Argument(help="Services, such as sink-parquet.", show_default="all")
    ] = None,
    form: Annotated[
        AclFormat, typer.Option("--format", help="'kafka-acls' and 'rpk': commands to run.")
    ] = AclFormat.TABLE,
    json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    principal: Annotated[
        str | None,
        typer.Option(help="Principal with {service} in it.", show_default="User:alphapulse-{service}"),
    ] = None,
    clickhouse: Annotated[
        bool, typer.Option("--clickhouse", help="SQL that creates the users of ClickHouse instead.")
    ] = False,
) -> None:
    """Print the least rights that each service needs on the broker."""
    from alphapulse import output
    from alphapulse.cli import acls as rights

    settings = config.load()
    if clickhouse:
        text = rights.clickhouse_users(settings)
    else:
        found = rights.acls(settings, services or (), principal if principal is not None else rights.PRINCIPAL)
        text = rights.shown(found, "json" if json else form.value, output.columns(sys.stdout))
    print(text, end="")


@topics_app.command("create")
def create_topics(
    replication: Annotated[
        int | None, typer.Option(help="Replicas of each partition.", min=1, show_default="as configured")
    ] = None,
    wait: Annotated[
        float, typer.Option(help="Seconds to wait for a broker that does not answer.", min=0, show_default=False)
    ] = 0.0,
) -> None:
    """Create the topics that do not exist yet, and set the retention of the others."""
    from alphapulse.cli.topics import create

    asyncio.run(create(config.load(), replication, wait))


@schemas_app.command("register")
def register_schemas() -> None:
    """Register all schemas with the registry of the configuration."""
    _become("schemas", "register")


@schemas_app.command("check")
def check_schemas(
    against: Annotated[
        str | None, typer.Option(help="Git revision or folder to compare with.", show_default="all releases")
    ] = None,
) -> None:
    """Check that the schemas are compatible with those of earlier releases."""
    _become("schemas", "check", *(("--against", against) if against is not None else ()))


def _names(text: str, option: str, check: Callable[[str], str], faults: list[str]) -> tuple[str, ...]:
    """Return the distinct names in a comma-separated list; errors are appended to ``faults``."""
    found: list[str] = []
    for name in filter(None, map(str.strip, text.split(","))):
        try:
            found.append(check(name))
        except ValueRefused as error:
            faults.append(f"{option}: {error}")
    if not text.strip(", "):
        faults.append(f"{option}: {text!r} is an empty list")
    return tuple(dict.fromkeys(found))


def _choose_data_dir(data_dir: Path | None) -> None:
    if data_dir is not None:
        os.environ[f"{config.PREFIX}DATA_DIR"] = str(data_dir)


def _become(module: str, *arguments: str) -> NoReturn:
    """Replace this process by the service, whose signals and exit code it then has."""
    if sys.stdout is not None:
        sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])  # noqa: S606 our own interpreter
