"""An evaluation as one HTML page that needs nothing else: no server, no network, no script.

Everything that a label or a trace says is escaped, and a content security policy keeps the page
from loading or running anything, should something slip through all the same.
"""

from __future__ import annotations

from markupsafe import Markup

from omnitrace.evaluation.evaluation import Evaluation
from omnitrace.evaluation.report.charts import calibration_plot, length_plot, position_plot
from omnitrace.evaluation.report.export import notes_of, table_of
from omnitrace.report.html import asset, environment

__all__ = ["render_page"]


def render_page(evaluation: Evaluation, *, title: str = "Evaluation") -> str:
    """Return the HTML of the table, the notes, and the plots for which there is anything to show.

    Parameters
    ----------
    evaluation:
        What :func:`~omnitrace.evaluation.evaluation.evaluate` returned.
    title:
        Heading of the page, such as the name of the label file.
    """
    plots = (
        calibration_plot(evaluation.bias),
        position_plot(evaluation.bias),
        length_plot(evaluation.rows),
    )
    heading, *rows = table_of(evaluation)
    html: str = (
        environment()
        .get_template("evaluation.html.j2")
        .render(
            title=title,
            signals=", ".join(filter(None, evaluation.signals)) or "unknown",
            heading=heading,
            rows=rows,
            notes=notes_of(evaluation),
            plots=[plot for plot in plots if plot is not None],
            style=Markup(asset("base.css") + asset("evaluation.css")),
        )
    )
    return html
