"""Log-mel features: how loud a sound is in each band of pitch, every hundredth of a second.

Frames of 25 ms every 10 ms, Hamming window, pre-emphasis .97, by kaldi-native-fbank, without dither, so that the same
sound gives the same numbers. Of each band the mean over the utterance is taken off: a louder voice and another
microphone then are the same voice (cepstral mean normalisation: Atal 1974).
"""

from typing import Any

import kaldi_native_fbank as knf
import numpy as np
from numpy.typing import NDArray

from unrolled.shell.errors import UserError

FRAME, SHIFT = 0.025, 0.01  # seconds
LOWEST = 20.0  # Hz

Features = NDArray[np.float32]  # [frames, mels]


def frame_sizes(rate: int) -> tuple[int, int]:
    """The samples of a frame, and from one to the next; a part of a sample is cut off, as kaldi does."""
    return round(1000 * FRAME) * rate // 1000, round(1000 * SHIFT) * rate // 1000


def frame_count(samples: int, rate: int) -> int:
    """How many frames fit; 0 below 25 ms."""
    length, shift = frame_sizes(rate)
    return max(0, 1 + (samples - length) // shift)


def log_mel(samples: NDArray[Any], rate: int, mels: int) -> Features:
    """Of samples in the scale of 16 bits, [N], a frame at least: [frames, mels]; the mean of each band is 0.

    UserError for more bands than the frequencies of a frame can fill.
    """
    options = knf.FbankOptions()
    options.frame_opts.samp_freq, options.frame_opts.dither = rate, 0.0
    options.frame_opts.frame_length_ms, options.frame_opts.frame_shift_ms = 1000 * FRAME, 1000 * SHIFT
    options.frame_opts.window_type, options.frame_opts.snip_edges = "hamming", True
    options.mel_opts.num_bins, options.mel_opts.low_freq, options.mel_opts.high_freq = mels, LOWEST, rate / 2
    try:
        bank = knf.OnlineFbank(options)
    except ValueError as error:
        raise UserError(f"vocabulary.mels: {mels} bands at {rate:,} Hz leave some empty; set fewer") from error
    bank.accept_waveform(rate, samples.tolist())  # which takes an array more slowly
    bank.input_finished()
    frames = np.stack([bank.get_frame(index) for index in range(bank.num_frames_ready)])
    found: Features = frames - frames.mean(0, dtype=np.float64).astype(np.float32)
    return found


def scaled(features: Features, spread: Features) -> NDArray[np.float16]:
    """Each band divided by its spread over the training split, [mels], as it is stored and read."""
    return (features / spread).astype(np.float16)


def frames_of(first: int, last: int, rate: int, frames: int) -> tuple[int, int]:
    """The first and the last frame whose middle lies within these samples, ``last`` not among them; one at least."""
    length, shift = frame_sizes(rate)
    low = int(np.ceil((first - length / 2) / shift))
    high = int(np.ceil((last - length / 2) / shift)) - 1
    low = min(max(low, 0), frames - 1)
    return low, min(max(high, low), frames - 1)
