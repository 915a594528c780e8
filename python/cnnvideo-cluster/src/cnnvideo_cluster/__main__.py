# SPDX-License-Identifier: MIT OR Apache-2.0
"""`python -m cnnvideo_cluster`."""

import sys

from .cli import main

sys.exit(main())
