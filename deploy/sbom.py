"""Completes the bill of materials of the locked packages (CycloneDX) with PyTorch and the models.

    python deploy/sbom.py PACKAGES.json > SBOM.json

The standard library only, so that it runs where nothing of ours is installed. Fails where a model's weights are not
the ones that its bundle pins: what is on the bill is what is delivered. `make sbom` calls it.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def completed(bill: dict[str, Any]) -> dict[str, Any]:
    """Give the bill with everything that the lock does not hold."""
    added = [*_pinned(ROOT / "deploy" / "torch.txt"), *_models(ROOT / "models")]
    return {**bill, "components": [*bill.get("components", []), *added]}


def _pinned(file: Path) -> Iterator[dict[str, Any]]:
    """Give what is pinned by its version alone (docs/decisions/0011)."""
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)==(\S+)$", file.read_text(encoding="utf-8"), re.MULTILINE):
        purl = f"pkg:pypi/{name}@{version}"
        yield {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def _models(folder: Path) -> Iterator[dict[str, Any]]:
    for bundle in sorted(path for path in folder.iterdir() if (path / "configs" / "metadata.json").is_file()):
        metadata = json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))
        pinned = metadata["cxrnode"]
        digest = hashlib.sha256((bundle / "models" / "model.pt").read_bytes()).hexdigest()
        if digest != pinned["weights_sha256"]:
            sys.exit(f"{bundle.name}: the weights have SHA-256 {digest}, the bundle pins {pinned['weights_sha256']}")
        yield {
            "type": "machine-learning-model",
            "bom-ref": f"model:{pinned['name']}@{metadata['version']}",
            "name": pinned["name"],
            "version": metadata["version"],
            "description": metadata["task"],
            "licenses": [{"license": {"name": pinned["licence"]}}],
            "hashes": [{"alg": "SHA-256", "content": digest}],
        }


if __name__ == "__main__":
    whole = completed(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    sys.stdout.write(json.dumps(whole, indent=2, sort_keys=True) + "\n")
