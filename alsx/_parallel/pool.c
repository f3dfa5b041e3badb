/* The pool of pool.h, on POSIX threads or on those of Windows.
 *
 * Helpers are started when a job first asks for them and stay. A job lies on its caller's stack and in the pool's list while
 * helpers may join it; whoever takes part takes tasks from its counter until none is left. A helper without a job, and a
 * caller at the end of one, first spin for microseconds, since on an idle machine the next job comes, or the last task ends,
 * sooner than a sleeping thread wakes; then they sleep, so that a busy machine is not kept from its work.
 */
#ifndef _WIN32
#define _POSIX_C_SOURCE 200809L
#endif
#include "pool.h"

#ifdef _WIN32
#include <process.h>
#include <windows.h>

typedef SRWLOCK lock_t;
typedef CONDITION_VARIABLE condition_t;
#define LOCK_INIT SRWLOCK_INIT
#define CONDITION_INIT CONDITION_VARIABLE_INIT
#define lock_take(x) AcquireSRWLockExclusive(x)
#define lock_leave(x) ReleaseSRWLockExclusive(x)
#define condition_wait(x, lock) SleepConditionVariableSRW(x, lock, INFINITE, 0)
#define condition_wake_one(x) WakeConditionVariable(x)
#define condition_wake_all(x) WakeAllConditionVariable(x)

static int64_t nanoseconds(void) {
    LARGE_INTEGER count, frequency;
    QueryPerformanceCounter(&count);
    QueryPerformanceFrequency(&frequency);
    return (int64_t)(1e9 * (double)count.QuadPart / (double)frequency.QuadPart);
}
#else
#include <pthread.h>
#include <signal.h>
#include <time.h>

typedef pthread_mutex_t lock_t;
typedef pthread_cond_t condition_t;
#define LOCK_INIT PTHREAD_MUTEX_INITIALIZER
#define CONDITION_INIT PTHREAD_COND_INITIALIZER
#define lock_take(x) pthread_mutex_lock(x)
#define lock_leave(x) pthread_mutex_unlock(x)
#define condition_wait(x, lock) pthread_cond_wait(x, lock)
#define condition_wake_one(x) pthread_cond_signal(x)
#define condition_wake_all(x) pthread_cond_broadcast(x)

static int64_t nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}
#endif

/* Counters that threads share: every operation is atomic; `read` sees what was written before the last `add`. */
#if defined(__GNUC__)
typedef int64_t counter_t;
#define counter_read(x) __atomic_load_n(x, __ATOMIC_ACQUIRE)
#define counter_add(x, y) __atomic_fetch_add(x, y, __ATOMIC_ACQ_REL) /* returns the value before */
#else
typedef volatile LONG64 counter_t;
#define counter_read(x) InterlockedOr64(x, 0)
#define counter_add(x, y) InterlockedExchangeAdd64(x, y)
#endif

#if defined(__x86_64__) || defined(__i386__)
#define RELAX() __builtin_ia32_pause()
#elif defined(__aarch64__) && defined(__GNUC__)
#define RELAX() __asm__ volatile("yield")
#elif defined(_WIN32)
#define RELAX() YieldProcessor()
#else
#define RELAX() ((void)0)
#endif

/* How long a helper waits for the next job, and a caller for the last tasks, before they sleep. */
enum { HELPER_SPIN_NS = 50000, CALLER_SPIN_NS = 20000 };

/* Kernels keep little on the stack; the default of musl, 128 KiB, is too small for builds with sanitizers. */
enum { STACK_BYTES = 1 << 20 };

/* Tasks are taken several at a time, so that many small ones cost little: this many times for each thread. */
enum { TURNS_PER_THREAD = 32 };

enum { CACHE_LINE = 64 };

typedef struct job {
    alsx_task run;
    void *job, *work;
    size_t work_bytes;
    ptrdiff_t n_tasks, step;
    int n_threads, joined;       /* under the pool's lock: threads that took part so far, the caller among them */
    int waiting;                 /* under the lock: whether the caller sleeps until `working` is 0 */
    struct job *next;
    char apart[CACHE_LINE];      /* what follows is written by all threads, what lies before is only read by them */
    counter_t taken;             /* tasks handed out */
    counter_t working;           /* helpers that may hold tasks; falls under the lock */
    char behind[CACHE_LINE];
} job_t;

static struct {
    lock_t lock;
    condition_t posted_one, job_done;
    job_t *first;                /* jobs that helpers may join, oldest first */
    counter_t posted;            /* jobs so far, for those who spin */
    int helpers, sleeping;
    int refused;                 /* whether the system would not start another helper */
} pool = {LOCK_INIT, CONDITION_INIT, CONDITION_INIT, NULL, 0, 0, 0, 0};

/* Runs tasks until none is left. */
static void take_part(job_t *job, int thread) {
    void *work = job->work ? (char *)job->work + (size_t)thread * job->work_bytes : NULL;
    for (;;) {
        const ptrdiff_t first = (ptrdiff_t)counter_add(&job->taken, job->step);
        const ptrdiff_t end = first < job->n_tasks - job->step ? first + job->step : job->n_tasks;
        ptrdiff_t task;
        if (first >= job->n_tasks) return;
        for (task = first; task < end; task++) job->run(job->job, task, work);
    }
}

/* Whether the counter leaves `value` within some nanoseconds. */
static int spin_while(counter_t *counter, int64_t value, int64_t spin_ns) {
    const int64_t end = nanoseconds() + spin_ns;
    do {
        int i;
        for (i = 0; i < 8; i++) {
            if (counter_read(counter) != value) return 1;
            RELAX();
        }
    } while (nanoseconds() < end);
    return 0;
}

/* The first job that has room for a thread and tasks left; under the lock. */
static job_t *job_to_join(void) {
    job_t *job = pool.first;
    while (job && (job->joined >= job->n_threads || counter_read(&job->taken) >= job->n_tasks)) job = job->next;
    return job;
}

static void help(void) {
    lock_take(&pool.lock);
    for (;;) {
        job_t *job = job_to_join();
        if (job) {
            const int thread = job->joined++;
            int waiting;
            counter_add(&job->working, 1);
            lock_leave(&pool.lock);
            take_part(job, thread);
            lock_take(&pool.lock);
            /* The job may be gone as soon as its caller sees that nobody works on it. */
            waiting = job->waiting;
            if (counter_add(&job->working, -1) == 1 && waiting) condition_wake_all(&pool.job_done);
        } else {
            const int64_t posted = counter_read(&pool.posted);
            lock_leave(&pool.lock);
            spin_while(&pool.posted, posted, HELPER_SPIN_NS);
            lock_take(&pool.lock);
            if (counter_read(&pool.posted) == posted) {
                pool.sleeping++;
                condition_wait(&pool.posted_one, &pool.lock);
                pool.sleeping--;
            }
        }
    }
}

#ifdef _WIN32
static unsigned __stdcall helper_main(void *unused) {
    (void)unused;
    help();
    return 0;
}

static int start_helper(void) {
    const uintptr_t thread = _beginthreadex(NULL, STACK_BYTES, helper_main, NULL, STACK_SIZE_PARAM_IS_A_RESERVATION, NULL);
    if (!thread) return 0;
    CloseHandle((HANDLE)thread);
    return 1;
}
#else
static void *helper_main(void *unused) {
    (void)unused;
    help();
    return NULL;
}

/* Only the forking thread lives on in a child: there the pool begins anew, whatever state it was in. */
static void begin_anew(void) {
    static const pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static const pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
    pool.lock = lock;
    pool.posted_one = pool.job_done = condition;
    pool.first = NULL;
    pool.helpers = pool.sleeping = pool.refused = 0;
}

static int start_helper(void) {
    static int hears_forks = 0;
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t blocked, before;
    int failed;
    if (!hears_forks) hears_forks = !pthread_atfork(NULL, NULL, begin_anew);
    if (pthread_attr_init(&attributes)) return 0;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    /* Signals are for Python's own threads, but for those that a fault of the thread itself raises. */
    sigfillset(&blocked);
    sigdelset(&blocked, SIGSEGV);
    sigdelset(&blocked, SIGBUS);
    sigdelset(&blocked, SIGFPE);
    sigdelset(&blocked, SIGILL);
    sigdelset(&blocked, SIGABRT);
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    failed = pthread_create(&thread, &attributes, helper_main, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return !failed;
}
#endif

/* Puts the job into the list, and sees to it that enough helpers are there and awake. */
static void post(job_t *job) {
    job_t **end = &pool.first;
    int asleep;
    lock_take(&pool.lock);
    /* Where no more threads are to be had, the job goes on with those that are there. */
    while (pool.helpers < job->n_threads - 1 && !pool.refused)
        if (start_helper())
            pool.helpers++;
        else
            pool.refused = 1;
    while (*end) end = &(*end)->next;
    *end = job;
    counter_add(&pool.posted, 1);
    asleep = pool.sleeping < job->n_threads - 1 ? pool.sleeping : job->n_threads - 1;
    lock_leave(&pool.lock);
    for (; asleep > 0; asleep--) condition_wake_one(&pool.posted_one);
}

/* Takes the job out of the list, and waits for the helpers that hold tasks of it. */
static void finish(job_t *job) {
    job_t **link = &pool.first;
    int64_t working;
    lock_take(&pool.lock);
    while (*link != job) link = &(*link)->next;
    *link = job->next;
    lock_leave(&pool.lock);
    /* Nobody joins any more. */
    while ((working = counter_read(&job->working)) > 0 && spin_while(&job->working, working, CALLER_SPIN_NS)) continue;
    if (working == 0) return;
    lock_take(&pool.lock);
    job->waiting = 1;
    while (counter_read(&job->working) > 0) condition_wait(&pool.job_done, &pool.lock);
    lock_leave(&pool.lock);
}

void alsx_run(alsx_task run, void *job, ptrdiff_t n_tasks, int n_threads, void *work, size_t work_bytes) {
    job_t own = {0};
    own.run = run;
    own.job = job;
    own.work = work;
    own.work_bytes = work_bytes;
    own.n_tasks = n_tasks;
    own.n_threads = n_threads < n_tasks ? n_threads : (int)n_tasks;
    own.joined = 1;
    own.step = n_tasks / ((ptrdiff_t)TURNS_PER_THREAD * (n_threads > 1 ? n_threads : 1));
    if (own.step < 1) own.step = 1;
    if (own.n_threads > 1) post(&own);
    take_part(&own, 0);
    if (own.n_threads > 1) finish(&own);
}

int alsx_helpers(void) {
    int helpers;
    lock_take(&pool.lock);
    helpers = pool.helpers;
    lock_leave(&pool.lock);
    return helpers;
}

static counter_t max_threads = 0;

int alsx_get_max_threads(void) { return (int)counter_read(&max_threads); }

void alsx_set_max_threads(int n_threads) {
    counter_add(&max_threads, n_threads - counter_read(&max_threads));
}
