"""The main job as a Ray job: uploaded from the repository's root, run by this Python, with its log outside the upload."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ray._private.runtime_env.packaging import get_uri_for_directory  # noqa: F401  see below

from tests.aether import ROOT, Aether, Ran
from tests.clusters import Head
