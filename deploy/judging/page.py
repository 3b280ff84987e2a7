"""One HTML page of judged episodes, in English and Chinese: pictures inline, nothing from elsewhere, no script."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Final

from kinestream.deploy.judging.report import EpisodeReport, FilesReport
from kinestream.deploy.judging.svg import inline
from kinestream.streams.quality import Finding

_STYLE: Final = """
:root{color-scheme:light}
body{font:15px/1.5 Inter,'Helvetica Neue',Helvetica,Arial,'Noto Sans CJK SC','PingFang SC','Microsoft YaHei',sans-serif;
color:#1f2430;background:#f3f4f6;margin:0}
main,header{max-width:960px;margin:0 auto;padding:0 20px}header{padding-top:24px}
h1{font-size:22px;margin:0 0 4px}h2{font-size:16px;margin:0;word-break:break-all}
.card{background:#fff;border:1px solid #e5e7eb;border-radius:8px;padding:16px 20px;margin:16px 0}
.facts,.faint{color:#6b7280;font-size:13px;margin:2px 0}
table{border-collapse:collapse;width:100%;font-size:13.5px}th{text-align:left;color:#6b7280;font-weight:500}
td,th{padding:4px 10px 4px 0;vertical-align:top;border-top:1px solid #f0f1f3}th{border:0}
td.n{white-space:nowrap;font-variant-numeric:tabular-nums}
.v{display:inline-block;border-radius:4px;padding:1px 8px;font-size:12.5px;font-weight:600;color:#fff}
.REJECT,.FAIL{background:#dc2626}.REVIEW,.SUSPECT{background:#d97706}.UNASSESSED{background:#6b7280}.ACCEPT{background:#15803d}
svg{width:100%;height:auto;margin-top:10px}
#en,#zh{position:absolute;opacity:0}label{cursor:pointer;color:#6b7280;margin-right:10px;font-size:13px}
#en:checked~header label[for=en],#zh:checked~header label[for=zh]{color:#1f2430;font-weight:600}
#en:checked~header [lang=zh],#en:checked~main [lang=zh]{display:none}
#zh:checked~header [lang=en],#zh:checked~main [lang=en]{display:none}
#en:focus-visible~header label[for=en],#zh:focus-visible~header label[for=zh]{outline:2px solid #2563eb}
@media print{.card{break-inside:avoid}body{background:#fff}}
"""
_WORDS: Final[Mapping[str, str]] = {
    "flag": "等级",
    "finding": "问题",
    "value": "数值",
    "limit": "阈值",
    "whose limit": "阈值来源",
    "from, to": "起止",
    "frames": "帧",
    "required and not evaluated": "必需但未评估",
    "not evaluated": "未评估",
    "odd": "异常",
    "could not be read": "无法读取",
    "no findings": "未发现问题",
    "a file cannot answer": "文件无法回答",
    "standard": "标准",
    "robot": "机器人说明书",
    "task": "任务统计",
    "ours": "本项目",
    "FAIL": "不合格",
    "SUSPECT": "可疑",
    "REJECT": "拒绝",
    "REVIEW": "待复核",
    "UNASSESSED": "未评定",
    "ACCEPT": "通过",
    "episodes accepted without a finding": "通过且未发现问题的片段",
}


def page(report: FilesReport, title: str) -> str:
    """The whole document; episodes with findings or no ACCEPT in full, the others as a list."""
    full = [episode for episode in report.episodes if episode.findings or episode.verdict != "ACCEPT"]
    rest = [episode for episode in report.episodes if not episode.findings and episode.verdict == "ACCEPT"]
    body = "".join([*_head(report, title), "<main>", *map(_card, full), *_rest(rest), *_notes(report), "</main>"])
    languages = '<input type="radio" name="l" id="en" checked><input type="radio" name="l" id="zh">'
    meta = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    head = f"<head>{meta}<title>{escape(title)}</title><style>{_STYLE}</style></head>"
    return f"<!doctype html><html>{head}<body>{languages}{body}</body></html>\n"


def _head(report: FilesReport, title: str) -> Iterator[str]:
    yield f'<header><label for="en">English</label><label for="zh">中文</label><h1>{escape(title)}</h1>'
    counts = " ".join(f"{_badge(verdict)} {count}" for verdict, count in report.verdicts.items())
    yield f"<p>{counts}</p>"
    versions = ", ".join(sorted({episode.rule_version for episode in report.episodes}))
    yield f'<p class="facts">{report.frames:,} {_both("frames")} · {escape(versions)}</p></header>'


def _card(episode: EpisodeReport) -> str:
    facts = f"{episode.model_id} · {episode.frames:,} {_both('frames')} · {episode.duration_s:.2f} s"
    parts = [
        f'<section class="card"><h2>{_badge(episode.verdict)} {escape(episode.source)}</h2><p class="facts">{facts}</p>'
    ]
    if episode.lacking and episode.verdict == "UNASSESSED":
        parts.append(f"<p>{_both('required and not evaluated')}: {', '.join(episode.lacking)}</p>")
    parts.append(_findings(episode) if episode.findings else f'<p class="facts">{_both("no findings")}</p>')
    parts += map(inline, episode.traces)
    parts += [f'<p class="faint">{_both("odd")}: {escape(text)}</p>' for text in episode.oddities]
    if episode.not_evaluated:
        parts.append(f'<p class="faint">{_both("not evaluated")}: {", ".join(episode.not_evaluated)}</p>')
    return "".join([*parts, "</section>"])


def _findings(episode: EpisodeReport) -> str:
    names = ("flag", "finding", "value", "limit", "whose limit", "from, to")
    head = "".join(f"<th>{_both(name)}</th>" for name in names)
    rows = "".join(_row(episode, finding) for finding in episode.findings)
    return f"<table><tr>{head}</tr>{rows}</table>"


def _row(episode: EpisodeReport, finding: Finding) -> str:
    begins, ends = episode.span_s(finding)
    where = f"{finding.metric} {escape(finding.joint)}".strip()
    zh = finding.message_zh or finding.message
    said = f'<span lang="en">{escape(finding.message)}</span><span lang="zh">{escape(zh)}</span>'
    unit = escape(finding.unit)
    return (
        f'<tr><td>{_badge(str(finding.flag))}</td><td>{said}<div class="faint">{where}</div></td>'
        f'<td class="n">{_number(finding.value)} {unit}</td><td class="n">{_number(finding.threshold)} {unit}</td>'
        f'<td>{_both(str(finding.origin))}</td><td class="n">{begins:.2f} – {ends:.2f} s</td></tr>'
    )


def _rest(episodes: list[EpisodeReport]) -> Iterator[str]:
    if not episodes:
        return
    yield f'<section class="card"><h2>{len(episodes)} {_both("episodes accepted without a finding")}</h2><table>'
    for one in episodes:
        facts = f'<td class="n">{one.frames:,} {_both("frames")}</td><td class="n">{one.duration_s:.2f} s</td>'
        yield f"<tr><td>{_badge(one.verdict)}</td><td>{escape(one.source)}</td>{facts}</tr>"
    yield "</table></section>"


def _notes(report: FilesReport) -> Iterator[str]:
    told = [f"{_both('could not be read')}: {escape(one.problem)}" for one in report.unreadable]
    told += map(escape, report.notes)
    told += [f"{_both('odd')}: {escape(text)}" for text in report.oddities()]
    told += [
        f"{_both('a file cannot answer')} {metric}: {escape(why)}" for metric, why in report.not_on_files().items()
    ]
    if told:
        yield f'<section class="card">{"".join(f"""<p class="faint">{text}</p>""" for text in told)}</section>'


def _badge(flag: str) -> str:
    return f'<span class="v {escape(flag)}">{_both(flag)}</span>'


def _both(words: str) -> str:
    """A word of ours in both languages."""
    return f'<span lang="en">{escape(words)}</span><span lang="zh">{escape(_WORDS.get(words, words))}</span>'


def _number(value: float) -> str:
    return f"{value:.4g}" if value == value else "–"
