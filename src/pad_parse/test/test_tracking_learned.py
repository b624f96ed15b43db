"""The learned point trackers: window policy against a stand-in; the real code with random weights where installed."""

import numpy as np
import pytest

from pad_parse.errors import TrackingError
from pad_parse.tracking import POINT_TRACKERS, make_point_tracker
from pad_parse.tracking.cotracker import STEP, WINDOW, CoTracker
from pad_parse.tracking.lucas_kanade import LucasKanadeTracker
from pad_parse.tracking.tapir import Tapir, new_model
from pad_parse.tracking.weights import load_weights, put_weights

torch = pytest.importorskip("torch", reason="torch is not installed")

POINTS = np.array([[20.0, 30.0], [50.0, 10.0], [40.0, 40.0]])


def moving(count, seed=0):
    """Images (48, 64, 3) of noise that moves by one pixel to the right each time."""
    picture = np.random.default_rng(seed).integers(0, 255, (48, 64 + count, 3)).astype(np.uint8)
    return [np.ascontiguousarray(picture[:, count - i : count - i + 64]) for i in range(count)]


class Predictor:
    """Answers as CoTrackerOnlinePredictor does, for points that all move by one pixel an image.

    `hidden(n, t)`: whether point n is hidden in image t.
    """

    step = STEP

    def __init__(self, hidden=lambda n, t: False):
        self.hidden, self.begins, self.longest = hidden, [], 0
        self.time, self.first = 0, 0

    def to(self, device):
        return self

    def __call__(self, video, is_first_step=False, queries=None, add_support_grid=False):
        if is_first_step:
            # A new beginning is given the last 8 images again.
            self.first = max(0, self.time - STEP)
            self.queries = queries[0].numpy()
            self.begins.append(self.queries.copy())
            self.tracks, self.index = [], 0
            return None, None
        count = video.shape[1]
        assert count <= WINDOW
        t = self.first + self.index + np.arange(count)
        at, start = self.queries[:, 0] + self.first, self.queries[:, 1:]
        places = start[None] + (t[:, None] - at[None])[..., None] * np.array([1.0, 0.0])
        seen = np.array([[not self.hidden(n, i) for n in range(len(at))] for i in t])
        self.tracks[self.index :] = zip(places, seen, strict=True)
        self.index += STEP
        self.time = int(t[-1]) + 1
        self.longest = max(self.longest, len(self.tracks))
        full = [torch.tensor(np.array(part))[None] for part in zip(*self.tracks, strict=True)]
        return full[0].float(), full[1]


def followed(tracker, images):
    tracker.start(images[0], POINTS)
    answers = [tracker.step(image, float(i)) for i, image in enumerate(images[1:], start=1)]
    return answers, [r for answer in [*answers, tracker.flush()] for r in answer]


@pytest.mark.parametrize("count", [5, 16, 17, 24, 100, 203])
def test_every_image_is_answered_once_in_order(count):
    predictor = Predictor()
    answers, results = followed(CoTracker(predictor, windows=3), moving(count))
    assert [r.stamp for r in results] == [float(i) for i in range(1, count)]
    assert {len(a) for a in answers} <= {0, STEP, WINDOW - 1}
    for result in results:
        assert np.allclose(result.points, POINTS + [result.stamp, 0.0], atol=1e-4) and result.visible.all()
    # Begins anew every 3 windows, so that what the model keeps does not grow.
    assert predictor.longest <= WINDOW + 3 * STEP
    assert len(predictor.begins) > count // (4 * STEP + WINDOW)


def test_a_point_is_queried_where_it_was_last_seen_and_else_is_lost():
    def hidden(n, t):
        return (n == 1 and 28 <= t < 32) or (n == 2 and t >= 20)

    predictor = Predictor(hidden)
    _, results = followed(CoTracker(predictor, windows=2), moving(90))
    for result in results:
        assert result.visible.tolist() == [not hidden(n, int(result.stamp)) for n in range(3)]
        assert np.allclose(result.points[:2][result.visible[:2]], (POINTS + [result.stamp, 0])[:2][result.visible[:2]])
    # Put off while point 2 was hidden, from window 2 to window 4.
    assert len(predictor.begins) >= 2 and np.all(predictor.begins[1][:, 0] <= STEP - 1)


@pytest.mark.parametrize("name", ["cotracker", "tapir"])
def test_what_is_missing_is_said(name, tmp_path):
    with pytest.raises(TrackingError, match="weights"):
        make_point_tracker(name)
    with pytest.raises(TrackingError, match=r"pip install|not a file"):
        make_point_tracker(name, checkpoint=tmp_path / "none.pth")
    with pytest.raises(TrackingError, match=r"cotracker.*tapir"):
        make_point_tracker("raft")
    assert isinstance(make_point_tracker("lucas_kanade"), LucasKanadeTracker) and name in POINT_TRACKERS


class Harmful:
    def __reduce__(self):
        return (print, ("this ran",))


def test_weights_that_could_run_code_are_refused(tmp_path, capsys):
    torch.save({"model": Harmful()}, tmp_path / "bad.pth")
    with pytest.raises(TrackingError, match="no readable weights"):
        load_weights(tmp_path / "bad.pth", "tapir", "x")
    assert "this ran" not in capsys.readouterr().out
    (tmp_path / "cut.safetensors").write_bytes(b"\x01\x02")
    with pytest.raises(TrackingError):
        load_weights(tmp_path / "cut.safetensors", "tapir", "x")


def test_weights_of_another_model_are_refused(tmp_path):
    torch.save({"model": {"a": torch.zeros(1)}}, tmp_path / "other.pth")
    state = load_weights(tmp_path / "other.pth", "tapir", "x")
    with pytest.raises(TrackingError, match="does not hold weights of tapir"):
        put_weights(torch.nn.Linear(1, 1), state, tmp_path / "other.pth", "tapir")


def test_real_tapir_runs_on_random_weights(tmp_path):
    try:
        model = new_model()
    except TrackingError as error:
        pytest.skip(str(error))
    torch.save(model.state_dict(), tmp_path / "random.pt")
    tracker = Tapir.load(tmp_path / "random.pt")
    answers, results = followed(tracker, moving(4))
    assert [len(a) for a in answers] == [1, 1, 1]
    assert all(np.all(np.isfinite(r.points)) and r.points.shape == (3, 2) for r in results)
    again = followed(tracker, moving(4))[1]
    assert np.allclose(again[-1].confidence, results[-1].confidence)


def test_real_cotracker_runs_on_random_weights(tmp_path):
    predictors = pytest.importorskip("cotracker.predictor", reason="cotracker is not installed")
    predictor = predictors.CoTrackerOnlinePredictor(checkpoint=None, window_len=WINDOW)
    torch.save(predictor.model.state_dict(), tmp_path / "random.pth")
    tracker = CoTracker.load(tmp_path / "random.pth", windows=1)
    tracker._predictor.interp_shape = (96, 128)  # a quarter of the size: seconds instead of minutes
    tracker._predictor.model.model_resolution = (96, 128)
    answers, results = followed(tracker, moving(35))
    assert [r.stamp for r in results] == [float(i) for i in range(1, 35)]
    assert all(np.all(np.isfinite(r.points)) for r in results)
    assert sum(len(a) > 0 for a in answers) == 3
