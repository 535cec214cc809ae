"""Colours and fonts of the page."""

from __future__ import annotations

import gradio as gr


def theme() -> gr.themes.Base:
    """Return a calm theme in which all text has a contrast of at least 4.5 to 1."""
    plain = {
        f"{label}_{part}{dark}": value
        for label in ("block_label", "block_title")
        for dark, colour in (("", "*neutral_700"), ("_dark", "*neutral_200"))
        for part, value in (("background_fill", "transparent"), ("text_color", colour))
    }
    strong = {
        f"{part}{dark}": colour
        for part in ("button_primary_background_fill", "checkbox_label_background_fill_selected")
        for dark, colour in (("", "*primary_700"), ("_dark", "*primary_700"))
    }
    quiet = {
        f"{part}{dark}": colour
        for part in ("body_text_color_subdued", "block_info_text_color", "input_placeholder_color")
        for dark, colour in (("", "*neutral_600"), ("_dark", "*neutral_300"))
    }
    made = gr.themes.Soft(
        primary_hue="teal",
        neutral_hue="slate",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    )
    return made.set(
        **plain,
        **strong,
        **quiet,
        background_fill_primary="*neutral_50",  # as in Soft; `set` resets it
        block_title_padding="0",
        block_label_padding="0",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_hover_dark="*primary_800",
        button_secondary_background_fill_hover_dark="*neutral_600",
        checkbox_label_text_color_selected_dark="white",
        checkbox_border_color="*neutral_500",
        input_border_color="*neutral_300",
        input_border_width="1px",
        link_text_color="*primary_800",
        link_text_color_dark="*primary_300",
        color_accent="*primary_700",
        slider_color="*primary_700",
    )
