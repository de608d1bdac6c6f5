"""Reading a configuration: a TOML file or a run's `config.json`, then values, then `key=value`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from narrows.checks import check_path
from narrows.errors import ConfigError, NarrowsError
from narrows.methods import METHODS
from narrows.models.networks import NetworkConfig
from narrows.runs.config import ResolvedConfig, RunConfig
from narrows.runs.defaults import defaults_of, natural_network
from narrows.runs.files import read_json
from narrows.runs.overrides import explain, parse_overrides
from narrows.runs.shapes import check_shapes
from narrows.storage import check_regular
from narrows.training.published import PUBLISHED
from narrows.user_code import is_user_function

__all__ = ["load_config", "read_toml"]

_LARGEST_FILE = 2**20  # bytes
_OF_BINARY = ("encoder", "normalise")  # settings of a network that binary layers have too
_INSERTED = 64  # units of a latent that is inserted into a network of the user's own


def load_config(
    file: str | Path | None = None,
    values: Mapping[str, object] | None = None,
    overrides: Sequence[str] = (),
) -> ResolvedConfig:
    """Build a resolved configuration; later settings go over earlier ones.

    Args:
        file: TOML with the keys of `RunConfig`, or the `config.json` of a run.
        values: the same keys, nested.
        overrides: `key=value`, with dots in the key.

    Raises:
        ConfigError: naming the unknown key (and the nearest valid one), the wrong type, the file
            that is not TOML, or the number out of range.
        StoreError: for a damaged `config.json`.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        later: Any = OmegaConf.merge(
            OmegaConf.create(_literal(dict(values or {}))), parse_overrides(overrides)
        )
        stored = _without_overridden(_read(None if file is None else check_path(file)), later)
        given: Any = OmegaConf.merge(OmegaConf.create(_literal(stored)), later)
        check_shapes(OmegaConf.to_container(given), RunConfig)
        # Built twice: a lone `train.epochs` changes the settings that the other keys choose.
        first = _build(OmegaConf.merge(OmegaConf.structured(RunConfig), given))
        base = OmegaConf.structured(_base(first, given))
        return _natural(_build(OmegaConf.merge(base, given)), given).resolve()
    except OmegaConfBaseException as error:
        raise ConfigError(explain(error)) from error
    except (TypeError, ValueError, AttributeError, RecursionError, OverflowError) as error:
        if isinstance(error, NarrowsError):  # of the data too, whose network is looked up
            raise
        # What OmegaConf does not wrap: a list where a table is expected, say, or endless nesting.
        raise ConfigError(f"expected a run configuration: {_first_line(error)}") from error


def _read(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    if file.suffix == ".json":
        stored = read_json(file, "configuration", ResolvedConfig)
        return msgspec.to_builtins(stored)
    return read_toml(file)


def _literal(value: Any) -> Any:
    """The same settings with `${` in text that is a name, not a reference to another setting."""
    if isinstance(value, Mapping):
        return {key: _literal(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_literal(inner) for inner in value]
    if not isinstance(value, str):
        return value
    # A backslash before a reference stands for itself if it is written twice.
    return re.sub(r"(\\*)\$\{", lambda found: 2 * found[1] + r"\${", value)


def read_toml(file: Path) -> dict[str, Any]:
    """Read a TOML file of a user's.

    Raises:
        ConfigError: for a file that cannot be read, is too large, or is not TOML.
    """
    try:
        if not file.is_relative_to("/dev"):  # where the shell puts the output of another command
            check_regular(file)
        if file.stat().st_size > _LARGEST_FILE:
            raise ConfigError(f"{file} is larger than 1 MiB; expected a TOML file")
        return tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # not TOML, not UTF-8, or nested without end
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{file} is not valid TOML: {_first_line(error)}") from error


def _without_overridden(stored: dict[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    """Drop what a file says of single methods where a later setting is meant for all of them.

    The configuration of a run names grid and network of each method. Without this, `--betas`
    would change nothing there.
    """
    stored = dict(stored)
    for general, specific in (("betas", "grids"), ("settings", "train")):
        if later.get(general) is not None:
            stored.pop(specific, None)
    if later.get("data", stored.get("data")) != stored.get("data"):
        stored.pop("data_sha256", None)
    network = later.get("network")
    if isinstance(network, Mapping) and "networks" in stored:
        name = network.get("name")
        stored["networks"] = {
            method: {**specific, **network}
            for method, specific in stored["networks"].items()
            if name in (None, specific.get("name"))
        }
    return stored


def _base(first: RunConfig, given: Mapping[str, Any]) -> RunConfig:
    """What the settings that were given are changes of."""
    network, train = defaults_of(first.data)
    name = _name(given.get("network"), network)
    network = _other(name, network)
    networks = {}
    for method in first.networks:
        natural = natural_network(first.data, method)
        name = _name(given["networks"][method], natural)
        networks[method] = _other(name, natural)
    if first.settings is not None:
        train = PUBLISHED[first.settings]
    return RunConfig(data=first.data, network=network, networks=networks, train=train)


def _other(name: str, natural: NetworkConfig) -> NetworkConfig:
    """The network of a name; its code is as wide as that of the natural one, if it is of ours."""
    if name == natural.name:
        return natural
    width = _INSERTED if is_user_function(name) else natural.bottleneck
    return NetworkConfig(name, bottleneck=width)


def _name(network: Mapping[str, Any] | None, default: NetworkConfig) -> str:
    return (network or {}).get("name") or default.name


def _natural(config: RunConfig, given: Mapping[str, Any]) -> RunConfig:
    """Give methods of binary layers their natural network, unless the user has named one.

    What the user has changed in every network is changed there too, where binary layers have it.
    """
    network = given.get("network") or {}
    if network.get("name") is not None:
        return config
    changed = {key: getattr(config.network, key) for key in _OF_BINARY if key in network}
    networks = dict(config.networks)
    for method in config.methods:
        if METHODS[method].latent == "binary":
            natural = natural_network(config.data, method)
            networks.setdefault(method, replace(natural, **changed))
    return replace(config, networks=networks)


def _build(merged: Any) -> RunConfig:
    from omegaconf import OmegaConf

    built = OmegaConf.to_object(merged)
    if not isinstance(built, RunConfig):
        raise ConfigError(f"expected a run configuration, got {type(built).__name__}")
    return built


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
