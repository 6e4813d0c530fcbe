"""What this machine has for upscaling films, what is missing, and what to do about it."""

from vsrcli.doctor.checks import CHECKS
from vsrcli.doctor.finding import Finding, run_checks

__all__ = ["CHECKS", "Finding", "run_checks"]
