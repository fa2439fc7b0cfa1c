"""A diagnosis as one self-contained HTML page: no request of any kind, complete without JavaScript, safe to open."""

from markupsafe import Markup

from postmortem.model.diagnosis import Diagnosis
from postmortem.render import checklist, comparison, csp, language, pictures, story, templates
from postmortem.render.words import speak


def render_html(diagnosis: Diagnosis, lang: str = "en") -> str:
    """The page. The same diagnosis and language give the same bytes; what is rendered from the re-read JSON is the same page."""
    with language.speaking(lang):
        return _page(diagnosis)


def _page(diagnosis: Diagnosis) -> str:
    style, script = templates.asset("report.css"), templates.asset("report.js") + templates.asset("curves.js")
    verdict = diagnosis.verdict
    env = templates.environment()
    return env.get_template("report.html.j2").render(
        d=diagnosis,
        lang=language.current(),
        v=verdict,
        policy=csp.policy(style, script),
        style=Markup(style),  # noqa: S704 - our own asset
        script=Markup(script),  # noqa: S704 - our own asset
        headline=speak(verdict.title),
        run_facts=story.run_facts(diagnosis.run),
        unit=story.unit(diagnosis.run.axis),
        tone=story.tone(verdict),
        badge=story.badge(verdict),
        badge_icon={"healthy": "absent", "inconclusive": "not-measured"}.get(verdict.mode, "present"),
        facts=story.facts(diagnosis),
        refused=story.refused(diagnosis),
        more_refused=story.more_refused(diagnosis),
        rivals=story.rivals_words(diagnosis),
        cause_label=story.cause_label(verdict),
        deciding=story.deciding(verdict),
        others=checklist.others(diagnosis),
        checklist=checklist.groups(diagnosis),
        tally=checklist.tally(diagnosis),
        mode_title=lambda mode: checklist.mode_title(diagnosis, mode),
        attempts=len(diagnosis.run.attempts),
        newest=max(0, len(diagnosis.run.attempts) - 1),
        about=story.about(diagnosis),
        settings=story.settings(diagnosis.run),
        method=story.method(diagnosis),
        reveals=story.reveals(diagnosis),
        contents=tuple(story.contents(diagnosis)),
        **(comparison.parts(diagnosis.comparison) if diagnosis.comparison is not None else {}),
        **pictures.pictures(diagnosis),
    )
