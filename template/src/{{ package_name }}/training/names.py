"""How metrics are called where people read them."""

NAMES = {
    "roc_auc": "AUC",
    "r2": "R²",
    "neg_log_loss": "−log loss",
    "neg_root_mean_squared_error": "−RMSE",
    "neg_mean_absolute_error": "−MAE",
}


def metric_name(metric: str) -> str:
    return NAMES.get(metric, metric.replace("_", " "))
