"""Colours and fonts of the page."""

from __future__ import annotations

import gradio as gr

_LIGHT_AND_DARK = {  # variables of the theme, with their colours in the light and the dark mode
    "block_label_background_fill": ("transparent", "transparent"),
    "block_title_background_fill": ("transparent", "transparent"),
    "block_label_text_color": ("*neutral_700", "*neutral_200"),
    "block_title_text_color": ("*neutral_700", "*neutral_200"),
    "button_primary_background_fill": ("*primary_700", "*primary_700"),
    "button_primary_background_fill_hover": ("*primary_800", "*primary_800"),
    "checkbox_label_background_fill_selected": ("*primary_700", "*primary_700"),
    "body_text_color_subdued": ("*neutral_600", "*neutral_300"),
    "block_info_text_color": ("*neutral_600", "*neutral_300"),
    "input_placeholder_color": ("*neutral_600", "*neutral_300"),
    "link_text_color": ("*primary_800", "*primary_300"),
}


def theme() -> gr.themes.Base:
    """Return a calm theme in which all text has a contrast of at least 4.5 to 1."""
    made = gr.themes.Soft(
        primary_hue="teal",
        neutral_hue="slate",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    )
    return made.set(
        **{name: light for name, (light, _) in _LIGHT_AND_DARK.items()},
        **{f"{name}_dark": dark for name, (_, dark) in _LIGHT_AND_DARK.items()},
        background_fill_primary="*neutral_50",  # as in Soft; `set` resets it
        block_title_padding="0",
        block_label_padding="0",
        button_secondary_background_fill_hover_dark="*neutral_600",
        checkbox_label_text_color_selected_dark="white",
        checkbox_border_color="*neutral_500",
        input_border_color="*neutral_300",
        input_border_width="1px",
        color_accent="*primary_700",
        slider_color="*primary_700",
    )
