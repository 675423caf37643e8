"""Print the table of the published models for `model-zoo.md`.

python -m docs.model_zoo     # prints Markdown
"""

from centernet2.report.markdown import markdown_table
from centernet2.zoo import zoo_models
from centernet2.zoo.table import MODEL_COLUMNS, cells_of


def models_markdown() -> str:
    """Return the table, which does not depend on the machine."""
    rows = [
        [*cells_of(model), f"[download]({model.page})" if model.page else model.note]
        for model in zoo_models()
    ]
    return "\n".join(markdown_table(MODEL_COLUMNS, rows))


if __name__ == "__main__":
    print(models_markdown())
