"""A gate for a release, to be copied into your own project.

    hamsa-export --int8 -o out/digits
    pytest --hamsa-bundle out/digits test_release.py

The plugin adds two tests of its own: the hashes of all files, and hamsa-parity with its usual limits. Below stand
the tests that only you can write.
"""

from __future__ import annotations

from pathlib import Path

import hamsa_deploy
from hamsa_deploy.samples import sample_classes, sample_images
from hamsa_deploy.testing import assert_parity
from hamsa_runtime import Engine

MODEL = "hamsa_nano"


def test_the_bundle_agrees_with_the_model(hamsa_bundle: Path) -> None:
    model = hamsa_deploy.load_model(MODEL)  # here: your model, with your checkpoint
    report = assert_parity(hamsa_bundle, model, sample_images(MODEL), classes=sample_classes(MODEL))
    assert report.metrics["logits"]["top1"] >= 0.99


def test_what_the_application_relies_on(hamsa_engine: Engine) -> None:
    [(label, probability)] = hamsa_engine.classify(sample_images(MODEL)[0], top=1)[0]
    assert label in set("0123456789")
    assert probability > 0.5
