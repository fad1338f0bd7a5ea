# SPDX-License-Identifier: GPL-3.0-or-later
"""The one error of labs and of kernels."""


class LabError(Exception):
    """The lab cannot do that; the text says why, with the last words of whoever has any."""
