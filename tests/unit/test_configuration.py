"""A bundle's configuration is read, never run; what is refused is named by file and line."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cxrnode.errors import NeedsOperator
from cxrnode.inference.bundle import INFERENCE, Network, read_card
from cxrnode.inference.configuration import Configuration, read_configuration, resolve
from tests.fakes.bundle import write_tiny_bundle


def configured(**content: Any) -> Configuration:
    return Configuration(file="inference.json", text=json.dumps(content, indent=1), content=content)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$@size // 2", 160),
        ("$[24] * 3", [24, 24, 24]),
        ("$@widths + [256]", [24, 48, 256]),
        ("$@widths#1 * 2 - 1", 95),
        ("$(@size + 5) % 7 / 2", 1.5),
        ("$-@net::depth", -4),
        ("$True", True),
        ("$None", None),
    ],
)
def test_sums_of_numbers_lists_and_references_are_calculated(text: str, value: object) -> None:
    """What MONAI's parser would give for the same text."""
    root = configured(size=320, widths=[24, 48], net={"depth": 4}, asked=text)
    assert resolve(root, "asked") == value


@pytest.mark.parametrize(
    "text",
    [
        "$__import__('os').abort()",
        "$open('/etc/passwd')",
        "$size",
        "$@size.real",
        "$(lambda: 1)()",
        "$[x for x in @widths]",
        "$@widths[0]",
        "$'a' * 9",
        "$9 ** 9 ** 9",
        "$[0] * 1000000000",
        "$[0] * 999 * 999",
        "$[[[0] * 30] * 30] * 30",
        "$[[]] * 999 + [[]] * 999",
        "$1e9 * 10",
        "$1 // 0",
        "$@widths * @widths",
        "$@word + 1",
        "$1 +",
        "$" + "(" * 190,
        "$" + "1+" * 120 + "1",
        "$import os",
        "$",
    ],
)
def test_an_expression_that_is_more_than_a_sum_is_refused(text: str) -> None:
    """Names, calls, attributes, texts, and numbers and lists beyond reason."""
    root = configured(size=320, widths=[24, 48], word="os", asked={"deep": [1, text]})
    with pytest.raises(NeedsOperator, match=r"expression that is code.*") as caught:
        resolve(root, "asked")
    assert "inference.json, line 11" in str(caught.value)


def test_what_is_refused_is_found_where_it_is_written(tmp_path: Path) -> None:
    """A file as people write it: several keys on a line, lists, text that looks like the offence."""
    path = tmp_path / "inference.json"
    path.write_text(
        '{ "imports": ["$import os"], "note": "the line\\nof \\"norm\\": is below",\n'
        '  "network_def": { "_target_": "UNet",\n'
        '    "channels": [4, 8,\n'
        "       16],\n"
        '    "act": [["x", {"_mode_": "debug"}]], "norm": ["batch", {\n'
        '      "eps": "$eval(\'1\')"}] } }\n'
    )
    with pytest.raises(NeedsOperator, match=r"inference\.json, line 5: _mode_"):
        resolve(read_configuration(path), "network_def")
    with pytest.raises(NeedsOperator, match=r"inference\.json, line 6: \$eval"):
        resolve(read_configuration(path), "network_def#norm")


def test_a_forbidden_target_is_named_with_its_line(tmp_path: Path) -> None:
    """Whoever brought the bundle knows what to look at."""
    bundle = write_tiny_bundle(tmp_path)
    (bundle / INFERENCE).write_text(
        '{\n  "network_def": {\n    "_target_": "subprocess.Popen",\n    "args": ["true"]\n  }\n}'
    )
    with pytest.raises(NeedsOperator, match=r"inference\.json, line 3: subprocess\.Popen.*not allowed"):
        Network.load(bundle)


def test_an_object_inside_the_network_is_refused(tmp_path: Path) -> None:
    """Only the network itself is built, also where the inner target would be allowed."""
    inner = {"_target_": "UNet", "spatial_dims": 2}
    root = configured(inner=inner, network_def={"_target_": "UNet", "encoder": "@inner"})
    with pytest.raises(NeedsOperator, match=r"put together from other objects") as caught:
        resolve(root, "network_def")
    assert "line 3: UNet" in str(caught.value)


def test_what_does_not_build_the_network_may_be_code(tmp_path: Path) -> None:
    """Bundles of MONAI's Model Zoo import and evaluate beside their network: that is never looked at."""
    bundle = write_tiny_bundle(tmp_path)
    network = json.loads((bundle / INFERENCE).read_text())["network_def"]
    content = {
        "imports": ["$import glob"],
        "bundle_root": ".",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "width": 4,
        "network_def": {**network, "features": "$[@width * 2] * 6"},
        "network": "$@network_def.to(@device)",
        "evaluating": ["$@evaluator.run()"],
    }
    (bundle / INFERENCE).write_text(json.dumps(content))
    assert Network.load(bundle).card.name == "tiny"


def test_a_bundle_configured_in_yaml_says_what_to_do(tmp_path: Path) -> None:
    """Not read, and not called missing either."""
    bundle = write_tiny_bundle(tmp_path)
    (bundle / INFERENCE).rename((bundle / INFERENCE).with_suffix(".yaml"))
    with pytest.raises(NeedsOperator, match="YAML; write it as JSON"):
        read_card(bundle)


@pytest.mark.parametrize("form", ["{}", "$[{}]"])
def test_references_that_multiply_are_refused(form: str) -> None:
    """Each of eight levels names the one below ten times: a page of text would fill the memory."""
    levels: dict[str, Any] = {"level0": [1] * 10}
    for number in range(1, 9):
        below = [f"@level{number - 1}"] * 10
        levels[f"level{number}"] = below if form == "{}" else form.format(",".join(below))
    with pytest.raises(NeedsOperator, match=r"too much|too long a list"):
        resolve(configured(**levels), "level8")


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), Path.mkdir])
def test_only_a_file_is_read(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """A pipe would be waited for, and a device has no end."""
    make(tmp_path / "metadata.json")
    with pytest.raises(NeedsOperator, match="lacks a file"):
        read_configuration(tmp_path / "metadata.json")


def test_a_configuration_larger_than_a_page_is_refused(tmp_path: Path) -> None:
    """Without reading it whole."""
    with (tmp_path / "metadata.json").open("wb") as file:
        file.truncate(1 << 34)
    with pytest.raises(NeedsOperator, match="too large"):
        read_configuration(tmp_path / "metadata.json")


def test_a_refusal_says_which_bundle_and_nothing_to_the_terminal(tmp_path: Path) -> None:
    """A node reads several bundles; what stands in one may be written to clear the screen it is shown on."""
    bundle = write_tiny_bundle(tmp_path / "strange")
    (bundle / INFERENCE).write_text(json.dumps({"network_def": {"_target_": "UNet", "norm": "$\x1b[2J"}}, indent=1))
    with pytest.raises(NeedsOperator, match=r"strange/configs/inference\.json, line 4: \$\?\[2J"):
        Network.load(bundle)


def test_broken_json_is_named_by_line(tmp_path: Path) -> None:
    """The line is the parser's own."""
    (tmp_path / "metadata.json").write_text('{\n "a": 1,\n "b": }')
    with pytest.raises(NeedsOperator, match=r"metadata\.json, line 3"):
        read_configuration(tmp_path / "metadata.json")
