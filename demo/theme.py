"""Colours and fonts of the page."""

from __future__ import annotations

import gradio as gr


def theme() -> gr.themes.Base:
    """Return a calm theme in which all text has a contrast of at least 4.5 to 1."""
    made = gr.themes.Soft(
        primary_hue="teal",
        neutral_hue="slate",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    )
    return made.set(
        **_light_and_dark(
            "transparent",
            "transparent",
            "block_label_background_fill",
            "block_title_background_fill",
        ),
        **_light_and_dark(
            "*neutral_700", "*neutral_200", "block_label_text_color", "block_title_text_color"
        ),
        **_light_and_dark(
            "*primary_700",
            "*primary_700",
            "button_primary_background_fill",
            "checkbox_label_background_fill_selected",
        ),
        **_light_and_dark(
            "*neutral_600",
            "*neutral_300",
            "body_text_color_subdued",
            "block_info_text_color",
            "input_placeholder_color",
        ),
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


def _light_and_dark(light: str, dark: str, *variables: str) -> dict[str, str]:
    """Return variables of the theme, and their variants for the dark mode, with their colours."""
    return dict.fromkeys(variables, light) | {f"{variable}_dark": dark for variable in variables}
