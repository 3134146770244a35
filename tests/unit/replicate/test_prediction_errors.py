"""What the error of a failed prediction means, besides a refusal of its content."""

import time

import pytest

from imagegen.failures import Kind, Reason
from imagegen.replicate.prediction_errors import meaning

# Errors by what they mean: real ones, and others of their kind.
MESSAGES: dict[Kind | Reason, list[str]] = {
    Kind.OVERLOADED: [
        "<html><head><title>502 Bad Gateway</title></head></html>",
        "The model is overloaded. Please try again later.",
        "429 Too Many Requests",
        "Read timed out.",
        "queue reached limit",
        "RESOURCE_EXHAUSTED: Quota exceeded",
        "Service is currently unavailable due to high demand. Please try again later. (E003) (x)",
        "An error occurred while processing your request (E001) (1cah9wlWR9)",
        "ModelRateLimitError: too many requests",
        "<!DOCTYPE html><html><head><title>503 Service Temporarily Unavailable</title></head>",
        "Error code: 529 - {'type': 'error', 'error': {'message': 'Overloaded'}}",
        "HTTPSConnectionPool(host='api.bfl.ai', port=443): Read timed out.",
        "httpx.ReadTimeout",
        "requests.exceptions.ConnectionError: ('Connection aborted.')",
        "503 UNAVAILABLE. {'error': {'code': 503, 'message': 'The model is overloaded.'}}",
        "504 Deadline Exceeded",
        "DEADLINE_EXCEEDED",
        "You exceeded your current quota, please check your plan",
        "Server error '502 Bad Gateway' for url 'https://x'",
        "500 Server Error: too busy",
        "The engine is currently overloaded",
        "Request was throttled.",
        "Upstream service is at capacity",
        "status_code: 503",
        "Concurrency limit reached",
        "SetLimitExceeded: rate limit",
        "Max retries exceeded with url: /v1/images",
        "Temporary failure in name resolution",
        "Task timed out after 120 seconds",
        "Invalid API key provided",
        "Billing hard limit has been reached",
    ],
    Kind.STUBBORN: [
        "TypeError: 'NoneType' object is not iterable",
        "KeyError: 'sample'",
        "1 validation error for Output",
        "1 validation error for Output\nimage_url\n  field required",
        "This field is required",
        "ValueError: No images were returned from the API",
        "CUDA out of memory. Tried to allocate 20.00 MiB (GPU 0; 39.59 GiB total capacity)",
        "Prediction failed for an unknown reason. It might have run out of memory? (exitcode -9)",
        "Director: unexpected error handling prediction (E9828)",
        "AttributeError: 'Image' object has no attribute 'save_all'",
        "IndexError: list index out of range",
        "RuntimeError: The size of tensor a (128) must match the size of tensor b (64)",
        "UnboundLocalError: local variable 'image' referenced before assignment",
        "json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)",
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for PredictionResponse",
        "AssertionError",
        "FileNotFoundError: [Errno 2] No such file or directory: '/tmp/out.png'",
        "Must be less than or equal to 4",
        "CUDA error: an illegal memory access was encountered",
        "TypeError: predict() got an unexpected keyword argument 'num_frames'",
        "No image was returned",
        "cannot identify image file: UnidentifiedImageError",
    ],
    Kind.TRANSIENT: [
        "Prediction interrupted; please retry (code: PA)",
        "Director: unexpected error handling prediction (E9243)",
        "Director: unexpected error handling prediction (E6716)",
        "Internal error. Please try again!",
        "Got error trying to upload output files",
        "Request 0 already exists.",
        "500 Internal Server Error",
    ],
    Kind.PERMANENT: [
        "prompt is too long",
        "Prompt is too long: 1200 > 1000",
        "prompt must not be empty",
        "The prompt exceeds the maximum number of tokens",
        "Prompt length must be at most 1000 characters",
        "ValueError: prompt cannot be empty",
        "Invalid prompt",
        "Your prompt is longer than 2000 characters",
        "1 validation error for Input\nprompt\n  String should have at most 1000 characters",
        "Input text is too long",
        "Prompt language is not supported",
        "The maximum prompt length is 1024 characters",
        "prompt: ensure this value has at most 500 characters",
        "The text prompt must contain at least 3 words",
        "Missing prompt",
    ],
    Kind.MISCONFIGURED: [
        "E4875: webhook URL is empty",
        "width must be one of [512, 768]",
        "ValueError: width must be divisible by 8",
        "num_inference_steps must be between 1 and 4",
        "Unsupported aspect_ratio: 7:3",
        "Invalid value for size: '100x100'",
        "output_format: value is not a valid enumeration member",
        "Invalid aspect ratio",
        "guidance_scale must be greater than 1",
        "Invalid output_format 'tiff'",
        "negative_prompt must not be empty",
        "prompt_strength must be between 0 and 1",
        "`height` and `width` have to be divisible by 8 but are 100 and 100.",
        "ValueError: invalid seed",
        "style 'foo' is not supported",
        "seed must be at most 2147483647",
        "1 validation error for Input\nnum_outputs\n  ensure this value is at most 4",
        "Invalid parameter: size must be one of 1024x1024",
        "Unknown style: realistic",
        "safety_tolerance must be 2 when an image is given",
        "negative prompt is too long",
        "n must be 1",
    ],
    Kind.UNKNOWN: [
        "no words for it",
        "Something went wrong",
        "odd: a cat with the number 429",
        "odd: safety first",
        "odd: please try again",
        "odd: 503",
        "Image generation failed",
        "Task failed",
        "the prompt could not be tokenized",
    ],
}


@pytest.mark.parametrize(
    ("meant", "error"), [(meant, error) for meant, errors in MESSAGES.items() for error in errors]
)
def test_an_error_means_what_is_known_of_its_kind(meant: Kind | Reason, error: str) -> None:
    assert meaning(error) == meant


def test_only_the_prompt_itself_fails_a_token_at_once() -> None:
    """Whatever else broke down, the same prompt may pass another time."""
    for error in (
        "TypeError: prompt must be at most 10 long",
        "Failed to encode the prompt: CUDA out of memory",
        "The prompt queue is full",
        "prompt_strength must not be empty",
        "negative_prompt is too long",
        "prompt upsampling is not supported",
    ):
        assert meaning(error) is not Kind.PERMANENT, error


def test_a_prompt_that_an_error_repeats_decides_nothing() -> None:
    prompt = "a prompt that is too long, with a width must be one of overloaded donkeys"

    assert meaning(f"odd: {prompt}", prompt=prompt) is Kind.UNKNOWN


@pytest.mark.parametrize(
    "filler", ["prompt ", "width ", "a_b ", "error ", "queue ", "unsupported input ", "n ", "("]
)
def test_no_error_takes_long(filler: str) -> None:
    began = time.process_time()

    meaning(f"{filler * 2000}!"[:10_000])

    assert time.process_time() - began < 1.0
