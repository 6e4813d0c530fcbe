"""What this machine has for upscaling films, what is missing, and what to do about it."""

from vsrcli.doctor.checks import CHECKS
from vsrcli.doctor.finding import Finding, examine

__all__ = ["CHECKS", "Finding", "examine"]
