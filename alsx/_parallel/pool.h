/* One pool of threads for all kernels: the tasks of a job are handed out to the calling thread and to helpers.
 *
 * Why not OpenMP's own loops: at the end of each, libgomp waits for every thread of the team, also for one that has no task and
 * does not run because another process has its processor, and spins for milliseconds while it waits. Beside two busy processes
 * a fit of 100,000 ratings then takes 4 to 60 times its time (benchmarks/NOTES.md). Here a caller waits only for helpers that
 * hold a task, and every wait sleeps after microseconds.
 */
#ifndef ALSX_POOL_H
#define ALSX_POOL_H

#include <stddef.h>
#include <stdint.h>

/* One task of a job, with the workspace of the thread that runs it. */
typedef void (*alsx_task)(void *job, ptrdiff_t task, void *work);

/* Runs the tasks 0 ... n_tasks - 1 of a job, each once, in any order, on the calling thread and on up to n_threads - 1 helpers;
 * returns when all are done. What tasks wrote is then seen by the caller. The workspace of each thread begins work_bytes after
 * that of the one before, `work` is the first. Any number of threads may call this at once, but no task may. */
void alsx_run(alsx_task run, void *job, ptrdiff_t n_tasks, int n_threads, void *work, size_t work_bytes);

/* How many helpers there are now. */
int alsx_helpers(void);

/* The number of threads that calls should use where nobody asks for a number; 0: no limit was set. Exported from the library, so
 * that threadpoolctl can find and set it (see _threads.py); the pool itself does not read it. */
#if defined(_WIN32)
#define ALSX_EXPORT __declspec(dllexport)
#else
#define ALSX_EXPORT __attribute__((visibility("default")))
#endif
ALSX_EXPORT int alsx_get_max_threads(void);
ALSX_EXPORT void alsx_set_max_threads(int n_threads);

/* *total += x, from any task. */
#if defined(__GNUC__)
static inline void alsx_add(int64_t *total, int64_t x) { __atomic_fetch_add(total, x, __ATOMIC_RELAXED); }
#else
#include <intrin.h>
static __inline void alsx_add(int64_t *total, int64_t x) { _InterlockedExchangeAdd64(total, x); }
#endif

#endif
