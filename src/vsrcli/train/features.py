"""The feature distance as a loss; it is a measure, too, and lives in :mod:`vsrcli.evaluate.features`."""

from vsrcli.evaluate.features import EdgeFeatures, find_feature_weights

__all__ = ["EdgeFeatures", "find_feature_weights"]
