"""The parts of the page, and the events that they trigger."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gradio as gr

from cinn_jax.page.events import Events, help_of
from cinn_jax.page.opened import DRAWN
from cinn_jax.page.runs import SHOWN, Run
from cinn_jax.page.sessions import Sessions
from cinn_jax.page.wishes import Settings

TITLE = "Point and ask"
_HEAD = f"""# {TITLE}
Many plausible answers for one picture. Nothing leaves this machine."""
# The colour at the start.
_COLOR = "#1e5aa8"
# Age in seconds at which uploads are removed, and how often gradio looks for
# such old ones. A session copies its uploads at once.
_UPLOADS = 30

STYLE = """
.gradio-container { max-width: 1400px !important; margin: 0 auto; }
#photo img { cursor: crosshair; }
#photo, #answers, #compare { touch-action: manipulation; }
/* Parts are as high as their content. */
#photo, #answers, #compare, #command { flex-grow: 0; }
#answers .grid-wrap { min-height: 0; max-height: none; height: auto; }
#command .cm-editor, #command .codemirror-wrapper { min-height: 0; }
#answers .thumbnail-lg { aspect-ratio: auto; height: auto; }
#answers .thumbnail-lg img { position: static; height: auto; }
@media (max-width: 640px) {
  #answers .grid-container { grid-template-columns: 1fr 1fr !important; }
}
"""


def theme() -> gr.themes.Base:
  """Returns a theme whose fonts are the system's own."""
  return gr.themes.Soft(
    font=("system-ui", "sans-serif"), font_mono=("ui-monospace", "monospace")
  )


class Page:
  """The page of some runs.

  Args:
    runs: The runs by name; the first one is offered first.
    sessions: The tabs.

  Attributes:
    blocks: The page, to be launched.
  """

  def __init__(self, runs: Mapping[str, Run], sessions: Sessions):
    self._events = Events(runs, sessions)
    run = next(iter(runs.values()))
    self.blocks = gr.Blocks(
      title=TITLE, analytics_enabled=False, delete_cache=(_UPLOADS, _UPLOADS)
    )
    with self.blocks:
      gr.Markdown(_HEAD)
      with gr.Row():
        with gr.Column(scale=5, min_width=320):
          self._build_question(list(runs), run)
          self._build_hints(run)
          self._build_settings(run)
        with gr.Column(scale=7, min_width=320):
          self._build_answers()
      self._connect()
    self.blocks.queue(default_concurrency_limit=8)

  def _build_question(self, names: Sequence[str], run: Run) -> None:
    self._run = gr.Dropdown(
      names, value=run.name, label="Run", visible=len(names) > 1, elem_id="run"
    )
    self._help = gr.Markdown(help_of(run))
    self._file = gr.File(label="Photograph", height=110, elem_id="file")
    self._photo = gr.Image(
      label="Photograph",
      show_label=False,
      interactive=False,
      buttons=["fullscreen"],
      elem_id="photo",
      visible=False,
    )
    self._hole = gr.ImageEditor(
      label="Paint what is to be filled",
      sources=(),
      transforms=(),
      layers=False,
      buttons=[],
      brush=gr.Brush(colors=["#ff4081"], color_mode="fixed"),
      elem_id="hole",
      visible=False,
    )
    self._fill = gr.Button(
      "Fill", variant="primary", visible=False, elem_id="fill"
    )

  def _build_hints(self, run: Run) -> None:
    with gr.Column(visible=run.takes_hints) as self._hints:
      self._color = gr.ColorPicker(
        value=_COLOR,
        label="Colour of the next click",
        elem_id="color",
      )
      with gr.Row():
        self._undo = gr.Button("Undo", size="sm", min_width=60, elem_id="undo")
        self._clear = gr.Button(
          "Clear", size="sm", min_width=60, elem_id="clear"
        )
        self._save = gr.DownloadButton(
          "Save", size="sm", min_width=60, elem_id="save"
        )
        self._load = gr.UploadButton(
          "Load", size="sm", min_width=60, elem_id="load"
        )
      with gr.Accordion("Colours of another photograph", open=False):
        self._reference = gr.File(
          label="Reference", height=110, elem_id="reference"
        )

  def _build_settings(self, run: Run) -> None:
    with gr.Accordion("Settings", open=False):
      self._seed = gr.Number(
        0,
        label="Seed",
        precision=0,
        minimum=0,
        maximum=2**32 - 1,
        elem_id="seed",
      )
      self._temperature = gr.Textbox(
        Settings().temperature,
        label="Temperature",
        info="Lower is calmer. One number, or one per level, the finest first.",
        submit_btn=True,
        elem_id="temperature",
      )
      self._spread = gr.Checkbox(
        label=f"Show {SHOWN} of {DRAWN} samples, far apart (takes longer)",
        elem_id="spread",
      )

  def _build_answers(self) -> None:
    self._gallery = gr.Gallery(
      label="Answers",
      show_label=False,
      columns=4,
      height="auto",
      object_fit="contain",
      allow_preview=False,
      buttons=[],
      elem_id="answers",
    )
    self._note = gr.Markdown(elem_id="note")
    self._place: Any = gr.State(-1)
    with gr.Column(visible=False) as self._choice:
      self._compare = gr.ImageSlider(
        label="Before and after", buttons=["fullscreen"], elem_id="compare"
      )
      with gr.Row():
        self._render = gr.Button("Render at full size", elem_id="render")
        self._download = gr.DownloadButton(
          "Download", visible=False, variant="primary", elem_id="download"
        )
      self._command = gr.Code(
        label="The same on the command line",
        language="shell",
        visible=False,
        wrap_lines=True,
        lines=1,
        max_lines=6,
        elem_id="command",
      )

  def _connect(self) -> None:
    events, hints = self._events, [self._photo, self._save]
    self.blocks.unload(events.unload)
    colors = [self._reference, self._save]
    views = [self._photo, self._hole, self._fill, *colors]
    chosen = [self._place, self._choice, self._compare]
    result = [self._download, self._command]
    answers = [self._gallery, self._note, *chosen, *result]
    begin = [self._help, self._hints, self._temperature, self._file]
    self._on(
      self._run.input, events.run, [self._run], [*begin, *views, *answers]
    )
    dropped = [self._run, self._file]
    drop = self._ask(
      self._file.upload, events.drop, dropped, [*views, *answers]
    )
    # The upload field is ready for another file, even if this one could not be
    # read.
    for end in (drop.success, drop.failure):
      self._on(end, lambda: None, [], [self._file], show_progress="hidden")
    self._ask(self._photo.select, events.click, [self._color], hints)
    self._ask(self._undo.click, events.undo, [], hints)
    self._ask(self._clear.click, events.clear, [], hints)
    self._ask(self._load.upload, events.load, [self._load], hints)
    for event in (self._reference.upload, self._reference.clear):
      self._ask(event, events.refer, [self._reference], hints)
    self._ask(self._fill.click, events.fill, [self._hole], [])
    for setting in (self._seed.input, self._spread.input):
      self._draw_after(setting)
    self._draw_after(self._temperature.submit)
    self._on(self._gallery.select, events.choose, [], [*chosen, *result])
    self._on(self._render.click, events.render, [self._place], result)

  def _ask(
    self,
    event: Callable[..., Any],
    answer: Callable[..., Any],
    inputs: list[Any],
    outputs: list[Any],
  ) -> Any:
    """Connects an event after which samples are drawn again; returns it."""
    # A second click does not have to wait for the answer to the first.
    change = self._on(event, answer, inputs, outputs, trigger_mode="multiple")
    self._draw_after(change.success)
    return change

  def _draw_after(self, event: Callable[..., Any]) -> None:
    shown = [self._gallery, self._note]
    chosen = [self._place, self._choice, self._compare]
    settings = [self._place, self._seed, self._temperature, self._spread]
    drawn = self._on(
      event,
      self._events.draw,
      settings,
      [*shown, *chosen, self._download, self._command],
      trigger_mode="multiple",
    )
    self._on(
      drawn.success,
      self._events.count,
      [],
      shown,
      show_progress="hidden",
      trigger_mode="multiple",
    )

  def _on(
    self,
    event: Callable[..., Any],
    answer: Callable[..., Any],
    inputs: list[Any],
    outputs: list[Any],
    **options: Any,
  ) -> Any:
    options = {"show_progress": "minimal", **options}
    return event(answer, inputs, outputs, api_visibility="private", **options)
