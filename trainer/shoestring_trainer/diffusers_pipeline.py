"""Text to picture with the parts of this folder: `pipe("a red circle", seed=0).images[0]`.

    pipe = DiffusionPipeline.from_pretrained(DIR, custom_pipeline=f"{DIR}/pipeline.py", trust_remote_code=True)

The same prompt and seed give the picture that `shoestring sample` draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from diffusers.pipelines.pipeline_utils import DiffusionPipeline, ImagePipelineOutput
from PIL import Image


class ShoestringPipeline(DiffusionPipeline):
    """A network, sentences to states, and latents to pictures (`vae`: none where samples are pixels)."""

    transformer: Any
    text_encoder: Any
    vae: Any
    _optional_components = ["vae"]  # noqa: RUF012 (diffusers reads it so)

    def __init__(
        self,
        transformer: Any,
        text_encoder: Any,
        vae: Any,
        sampler: str = "dpmpp2m",
        guidance_low: float | None = None,
        guidance_high: float | None = None,
    ) -> None:
        super().__init__()
        self.register_modules(transformer=transformer, text_encoder=text_encoder, vae=vae)
        self.register_to_config(sampler=sampler, guidance_low=guidance_low, guidance_high=guidance_high)

    def __call__(
        self,
        prompt: str | Sequence[str],
        seed: int = 0,
        num_inference_steps: int = 20,
        guidance_scale: float = 3.0,
        output_type: str = "pil",
    ) -> ImagePipelineOutput:
        """Draw a picture for each prompt, the i-th from noise number i of the seed; "np" gives (B, H, W, 3) uint8.

        Guidance 0 ignores the prompt, 1 follows the network, more exaggerates.
        """
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        how, numbers = self.config, [(seed, i) for i in range(len(prompts))]
        interval = None if how["guidance_low"] is None else (how["guidance_low"], how["guidance_high"])
        captions = self.text_encoder(prompts)
        x = self.transformer.draw(captions, numbers, num_inference_steps, guidance_scale, how["sampler"], interval)
        pictures = (self.vae or self.transformer).decode(x)
        if output_type == "pil":
            pictures = [Image.fromarray(pixels) for pixels in pictures]
        return ImagePipelineOutput(images=pictures)
