"""Images from an iterator to results in order, with decoding, preprocessing and inference under way at the same time.

    iterator ──reader──▶ preparing (a pool) ──dispatcher──▶ inference (a pool) ──▶ results, in order

The reader is a thread of its own, because the iterator may be slow by itself (a camera, a download). The dispatcher
waits for the first image only, and takes with it what else is ready by then: under load, batches become full; a slow
source gets each result as soon as it can be had. What has been read and not yet been handed over is limited, so an
endless iterator does not fill the memory.
"""

from __future__ import annotations

import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

import numpy as np

from hamsa_runtime.batches import Arrays

Item = TypeVar("Item")

MOST_WORKERS = 8
# How long to wait for a reader: it may be inside of the iterator, where nothing can interrupt it.
READER_SECONDS = 1.0
READER = "hamsa-read"


class Ended:
    """The end of the stream in a queue, with the error that it ended with."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


class Stream(Generic[Item]):
    """One pass over an iterator.

    Args:
        prepare: one image as inputs of the graph; called by several threads at once.
        infer: outputs for inputs.
        part: outputs, from the first and up to the last, and how many there are: outputs of some of the images.
        batch: the most images of one inference; 1 never puts images together.
        parallel: inferences under way at the same time.
    """

    def __init__(
        self,
        prepare: Callable[[Item], Arrays],
        infer: Callable[[Arrays], Arrays],
        part: Callable[[Arrays, int, int, int], Arrays],
        batch: int,
        parallel: int,
    ) -> None:
        self._prepare, self._infer, self._part, self._batch = prepare, infer, part, batch
        workers = min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2, MOST_WORKERS)
        self._preparing = ThreadPoolExecutor(workers, "hamsa-prepare")
        self._inferring = ThreadPoolExecutor(parallel, "hamsa-infer")
        self._lanes = threading.Semaphore(parallel)
        self.ahead = 2 * (workers + batch * parallel)
        self._room = threading.Semaphore(self.ahead)
        self._prepared: queue.SimpleQueue[Future[Arrays] | Ended] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[tuple[Future[Arrays], list[int]] | Ended] = queue.SimpleQueue()
        self._waiting: deque[Future[Arrays] | Ended] = deque()  # taken out of `_prepared`, of the dispatcher only
        self._stopped = threading.Event()
        self._ending, self._ended = threading.Lock(), False
        self._threads: list[threading.Thread] = []

    def results(self, images: Iterable[Item]) -> Iterator[Arrays]:
        """The outputs for each image, in order. An error is raised in the place of the image it belongs to, and ends
        the stream; so does closing the iterator."""
        try:
            self._start(iter(images))
            while not isinstance(found := self._results.get(), Ended):
                outputs, sizes = found[0].result(), found[1]
                start = 0
                for size in sizes:
                    self._room.release()
                    yield outputs if len(sizes) == 1 else self._part(outputs, start, start + size, sum(sizes))
                    start += size
            if found.error is not None:
                raise found.error
        finally:
            self.stop()

    def stop(self, error: BaseException | None = None) -> None:
        """Ends all threads, whatever they wait for; a second call does nothing. A reader that is inside of the iterator
        ends as soon as that returns, and this waits for it for a second.

        Args:
            error: what a consumer that asks for more is to get.
        """
        self._stopped.set()
        self._room.release()
        self._lanes.release()
        self._prepared.put(Ended())
        self._results.put(Ended(error))
        with self._ending:
            if not self._ended:
                self._ended = True
                self._join()

    def _join(self) -> None:
        self._preparing.shutdown(cancel_futures=True)
        self._inferring.shutdown()
        for thread in self._threads:
            if thread is not threading.current_thread():  # an iterator may close the engine
                thread.join(READER_SECONDS if thread.name == READER else None)

    def _start(self, images: Iterator[Item]) -> None:
        for name, work in ((READER, lambda: self._read(images)), ("hamsa-dispatch", self._dispatch)):
            self._threads.append(threading.Thread(target=work, name=name, daemon=True))
            self._threads[-1].start()

    def _read(self, images: Iterator[Item]) -> None:
        try:
            while True:
                self._room.acquire()
                if self._stopped.is_set():
                    return
                image = next(images)
                self._prepared.put(self._preparing.submit(self._prepare, image))
        except StopIteration:
            self._prepared.put(Ended())
        except BaseException as error:  # noqa: BLE001  # of the user's iterator: raised where the results are read
            self._prepared.put(Ended(error))

    def _dispatch(self) -> None:
        try:
            while True:
                self._lanes.acquire()  # before the images are chosen: more are ready when it is free
                if self._stopped.is_set():
                    return
                group = self._next_group()
                future = self._inferring.submit(self._infer_together, group)
                future.add_done_callback(lambda _: self._lanes.release())
                self._results.put((future, [_size(inputs) for inputs in group] if len(group) > 1 else [0]))
        except StopIteration:
            self._results.put(Ended())
        except BaseException as error:  # noqa: BLE001  # of an image or the iterator: raised where the results are read
            self._results.put(Ended(error))
        finally:
            self._stopped.set()
            self._room.release()

    def _next_group(self) -> list[Arrays]:
        """The next image, and those after it that are ready and fit into one inference.

        Raises:
            StopIteration: there are no more.
        """
        entry = self._waiting.popleft() if self._waiting else self._prepared.get()
        if isinstance(entry, Ended):
            raise StopIteration if entry.error is None else entry.error
        group = [entry.result()]
        if self._batch == 1:
            return group
        room = self._batch - _size(group[0])
        while room > 0 and (inputs := self._ready(room)) is not None:
            group.append(inputs)
            room -= _size(inputs)
        return group

    def _ready(self, room: int) -> Arrays | None:
        """The next image, if it is prepared and has room; otherwise it waits for its turn."""
        if not self._waiting:
            try:
                self._waiting.append(self._prepared.get_nowait())
            except queue.Empty:
                return None
        entry = self._waiting[0]
        if isinstance(entry, Ended) or not entry.done() or entry.exception() or _size(entry.result()) > room:
            return None
        self._waiting.popleft()
        return entry.result()

    def _infer_together(self, group: list[Arrays]) -> Arrays:
        if len(group) == 1:
            return self._infer(group[0])
        return self._infer({name: np.concatenate([inputs[name] for inputs in group]) for name in group[0]})


def _size(inputs: Arrays) -> int:
    """Images in prepared inputs; only asked where they are put together, which have one input."""
    return len(next(iter(inputs.values())))
