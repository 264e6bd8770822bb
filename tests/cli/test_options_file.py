"""Options from a TOML file."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import command_line


def test_a_config_file_sets_options_below_environment_and_command_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "config.toml"
    config.write_text('methods = ["from-file"]\nbatch-size = 4\n')
    assert "'from-file'" in command_line("run", "--config", config).stderr
    monkeypatch.setenv("MTLBENCH_METHODS", "from-environment")
    assert "'from-environment'" in command_line("run", "--config", config).stderr
    line = command_line("run", "--config", config, "--methods", "from-command-line").stderr
    assert "'from-command-line'" in line


def test_an_unknown_key_in_a_config_file_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("stepz = 3\n")
    done = command_line("run", "--config", config)
    assert done.returncode == 2
    assert "unknown key in config config.toml: 'stepz'; did you mean steps" in done.stderr
