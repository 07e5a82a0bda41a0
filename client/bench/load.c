/* load.c - all processes of a run, from the first connection to the last sum.
 *
 *	parent  fork, fork, ...   all ready?   gate, times   wait for all   sum up
 *	child          open ── threads ── ready ──┤ gate ── run ── exit
 *
 * A child writes a byte to "ready" when all its clients are connected; then its
 * threads wait at the gate, a pipe that ends when the parent closes it, who has
 * put the times into the shared memory before.  There children leave what they
 * counted, and the first that fails why; then the parent kills the others.  They
 * also die with it.
 *
 * Thread: the parent's and each child's first one; threads of a child run
 * run_thread. */
#include "client/bench/load.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/bench/mix.h"

#define WHY_N       200
#define PROGRESS_MS 500
/* From the gate to the start; threads have to wake up. */
#define MARGIN_NS        INT64_C(10000000)
#define MARGIN_THREAD_NS INT64_C(100000)

struct shared {
	_Atomic bool blamed; /* somebody has begun to write why */
	_Atomic int failed;  /* the exit status, when it is written */
	char why[WHY_N];
	struct turn_times times; /* set before the gate opens */
};

struct load {
	const struct bench_driver *driver;
	const struct bench_plan *plan;
	load_progress *progress;
	struct load_state state; /* as it was told last, */
	int64_t told_ns;         /* and when */
	struct shared *shared;
	struct tally *tallies; /* shared; of each thread */
	uint64_t *per_client;  /* shared */
	size_t shared_bytes;
	unsigned threads_n; /* of all */
	pid_t *pids;        /* 0: gone */
	unsigned left_n;    /* that are not gone */
	unsigned ready_n;
	int ready[2], gate[2];
	int signals; /* signalfd of SIGCHLD */
};

/* One thread of a child. */
struct thread {
	struct load *load;
	struct turn *turn;
	pthread_t id;
};

/* ---- dividing ---- */

/* Of n things, where does the part of number i of parts_n begin? */
static unsigned
get_part(unsigned n, unsigned parts_n, unsigned i)
{
	return (unsigned)((uint64_t)n * i / parts_n);
}

unsigned
load_count_threads(const struct bench_plan *plan)
{
	unsigned per_process;

	if ((mix_get_kinds(plan) & ~plan->async_kinds) == 0)
		return plan->threads_n;
	per_process = (plan->clients_n + plan->processes_n - 1) /
	    plan->processes_n;
	return per_process;
}

/* Anybody may do it, at any time: the first one's reason counts. */
static void
blame(struct shared *shared, int status, const char *why)
{
	if (atomic_exchange(&shared->blamed, true))
		return;
	snprintf(shared->why, WHY_N, "%s", why);
	atomic_store(&shared->failed, status);
}

/* ---- a child ---- */

/* The first one's reason counts; the process ends. */
__attribute__((noreturn)) static void
give_up(struct shared *shared, int status, const char *why)
{
	blame(shared, status, why);
	_exit(status);
}

static void *
run_thread(void *arg)
{
	struct thread *thread = arg;
	struct load *load = thread->load;
	char byte;

	while (read(load->gate[0], &byte, 1) < 0 && errno == EINTR)
		;
	if (turn_run(thread->turn, &load->shared->times) < 0)
		give_up(load->shared, 1, turn_get_why(thread->turn));
	return NULL;
}

/* Make the threads of a process and connect their clients. */
static struct thread *
make_threads(struct load *load, unsigned process, unsigned threads_n)
{
	const struct bench_plan *plan = load->plan;
	unsigned max_n = load->threads_n / plan->processes_n;
	unsigned first = get_part(plan->clients_n, plan->processes_n, process);
	unsigned n = get_part(plan->clients_n, plan->processes_n, process + 1) -
	    first;
	struct thread *threads = calloc(threads_n, sizeof(*threads));

	if (!threads)
		give_up(load->shared, 2, "out of memory");
	for (unsigned i = 0; i < threads_n; i++) {
		unsigned from = get_part(n, threads_n, i);
		struct turn_share share = {
			.driver = load->driver,
			.plan = plan,
			.first = first + from,
			.clients_n = get_part(n, threads_n, i + 1) - from,
			.tally = &load->tallies[process * max_n + i],
			.per_client = load->per_client,
		};
		struct turn *turn = turn_new(&share);

		if (!turn)
			give_up(load->shared, 2, "out of memory");
		if (turn_open(turn) < 0)
			give_up(load->shared, 2, turn_get_why(turn));
		threads[i] = (struct thread){ .load = load, .turn = turn };
	}
	return threads;
}

__attribute__((noreturn)) static void
run_child(struct load *load, unsigned process)
{
	const struct bench_plan *plan = load->plan;
	unsigned clients_n = get_part(plan->clients_n, plan->processes_n,
				 process + 1) -
	    get_part(plan->clients_n, plan->processes_n, process);
	unsigned threads_n = load->threads_n / plan->processes_n;
	struct thread *threads;
	char byte = 0;

	if (threads_n > clients_n)
		threads_n = clients_n;
	close(load->gate[1]);
	close(load->ready[0]);
	if (plan->rate > 0)
		prctl(PR_SET_TIMERSLACK, 1000UL); /* ns; the default is 50 us */
	threads = make_threads(load, process, threads_n);
	for (unsigned i = 1; i < threads_n; i++)
		if (pthread_create(
			&threads[i].id, NULL, run_thread, &threads[i]) != 0)
			give_up(load->shared, 2, "cannot make a thread");
	if (write(load->ready[1], &byte, 1) < 0)
		give_up(load->shared, 1, "the parent is gone");
	run_thread(&threads[0]);
	for (unsigned i = 1; i < threads_n; i++)
		pthread_join(threads[i].id, NULL);
	for (unsigned i = 0; i < threads_n; i++)
		turn_free(threads[i].turn);
	free(threads);
	_exit(0);
}

/* ---- the parent ---- */

/* A descriptor for each client may be more than the shell has allowed. */
static void
raise_limits(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

static int
map_shared(struct load *load)
{
	size_t tallies = load->threads_n * sizeof(struct tally);
	size_t clients = load->plan->clients_n * sizeof(uint64_t);
	char *at;

	load->shared_bytes = sizeof(struct shared) + tallies + clients;
	at = mmap(NULL, load->shared_bytes, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (at == MAP_FAILED)
		return -1;
	load->shared = (struct shared *)(void *)at;
	at += sizeof(struct shared);
	load->tallies = (struct tally *)(void *)at;
	load->per_client = (uint64_t *)(void *)(at + tallies);
	return 0;
}

static int
prepare(struct load *load)
{
	sigset_t set;

	raise_limits();
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	load->pids = calloc(load->plan->processes_n, sizeof(*load->pids));
	if (!load->pids || map_shared(load) < 0 ||
	    sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -1;
	load->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return load->signals < 0 || pipe(load->ready) < 0 ||
		pipe(load->gate) < 0
	    ? -1
	    : 0;
}

static void
fork_all(struct load *load)
{
	pid_t parent = getpid();

	for (unsigned i = 0; i < load->plan->processes_n; i++) {
		pid_t pid = fork();

		if (pid < 0) {
			blame(load->shared, 2, "cannot fork");
			return;
		}
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			if (getppid() != parent)
				_exit(1);
			run_child(load, i);
		}
		load->pids[i] = pid;
		load->left_n++;
	}
}

static bool
has_failed(const struct load *load)
{
	return atomic_load(&load->shared->failed) != 0;
}

static void
note_end(struct load *load, pid_t pid, int status)
{
	char why[64];

	for (unsigned i = 0; i < load->plan->processes_n; i++) {
		if (load->pids[i] != pid)
			continue;
		load->pids[i] = 0;
		load->left_n--;
	}
	if (status == 0)
		return;
	/* one that could not say why itself, or not to the end */
	snprintf(
	    why, sizeof(why), "a process ended with wait status %d", status);
	blame(load->shared, 1, why);
	if (!has_failed(load))
		atomic_store(&load->shared->failed, 1);
}

static void
reap(struct load *load)
{
	struct signalfd_siginfo info;
	int status;
	pid_t pid;

	while (read(load->signals, &info, sizeof(info)) > 0)
		;
	while (load->left_n > 0 && (pid = waitpid(-1, &status, WNOHANG)) > 0)
		note_end(load, pid, status);
}

static void
tell_progress(struct load *load)
{
	const struct turn_times *times = &load->shared->times;
	struct load_state *state = &load->state;
	int64_t now_ns = turn_now_ns(), phase_ns = now_ns;
	uint64_t ops_n = 0;

	for (unsigned i = 0; i < load->threads_n; i++)
		ops_n += atomic_load_explicit(
		    &load->tallies[i].progress_n, memory_order_relaxed);
	state->phase = "connecting";
	if (times->start_ns) {
		bool counting = now_ns >= times->count_ns;

		state->phase = counting ? "running" : "warming up";
		phase_ns = counting ? times->count_ns : times->start_ns;
	}
	state->seconds = (double)(now_ns - phase_ns) / 1e9;
	state->per_s = (double)(ops_n - state->ops_n) * 1e9 /
	    (double)(now_ns - load->told_ns);
	state->ops_n = ops_n;
	load->told_ns = now_ns;
	load->progress(state);
}

/* Sleep until a child has something to say, or the progress is to be told. */
static void
sleep_a_while(struct load *load)
{
	struct pollfd fds[2] = {
		{ .fd = load->signals, .events = POLLIN },
		{ .fd = load->ready[0], .events = POLLIN },
	};
	char bytes[64];
	ssize_t n = 0;
	int happened;

	/* every writer of ready has ended when the children have */
	happened = poll(fds, load->ready_n < load->plan->processes_n ? 2 : 1,
	    load->progress ? PROGRESS_MS : -1);
	if (fds[1].revents & POLLIN)
		n = read(load->ready[0], bytes, sizeof(bytes));
	if (n > 0)
		load->ready_n += (unsigned)n;
	reap(load);
	if (happened == 0 && load->progress)
		tell_progress(load);
}

static void
open_gate(struct load *load)
{
	const struct bench_plan *plan = load->plan;
	struct turn_times *times = &load->shared->times;

	times->start_ns = turn_now_ns() + MARGIN_NS +
	    MARGIN_THREAD_NS * load->threads_n;
	times->count_ns = times->start_ns + (int64_t)(plan->warmup_s * 1e9);
	times->end_ns = plan->count_n > 0
	    ? INT64_MAX
	    : times->count_ns + (int64_t)(plan->time_s * 1e9);
	close(load->gate[1]);
	load->gate[1] = -1;
}

static void
run_parent(struct load *load)
{
	while (!has_failed(load) && load->ready_n < load->plan->processes_n)
		sleep_a_while(load);
	if (!has_failed(load))
		open_gate(load);
	while (!has_failed(load) && load->left_n > 0)
		sleep_a_while(load);
}

static void
end_children(struct load *load)
{
	for (unsigned i = 0; i < load->plan->processes_n; i++) {
		if (load->pids[i] <= 0)
			continue;
		kill(load->pids[i], SIGKILL);
		(void)waitpid(load->pids[i], NULL, 0);
	}
}

/* ---- the sum ---- */

static void
add_tally(struct tally *total, const struct tally *t)
{
	for (int i = 0; i < BENCH_KINDS_N; i++) {
		total->ended[i] += t->ended[i];
		total->ops[i] += t->ops[i];
		total->errors[i] += t->errors[i];
		hist_merge(&total->hist[i], &t->hist[i]);
	}
	total->rows_n += t->rows_n;
	total->unsent_n += t->unsent_n;
	total->cpu_ns += t->cpu_ns;
	if (t->last_end_ns > total->last_end_ns)
		total->last_end_ns = t->last_end_ns;
}

static int
sum_up(const struct load *load, struct load_result *ret)
{
	const struct turn_times *times = &load->shared->times;
	size_t clients_n = load->plan->clients_n;
	struct load_result r = {
		.total = calloc(1, sizeof(*r.total)),
		.all = calloc(1, sizeof(*r.all)),
		.per_client = calloc(clients_n, sizeof(*r.per_client)),
	};

	if (!r.total || !r.all || !r.per_client) {
		load_result_free(&r);
		return -1;
	}
	for (unsigned i = 0; i < load->threads_n; i++)
		add_tally(r.total, &load->tallies[i]);
	for (int i = 0; i < BENCH_KINDS_N; i++) {
		hist_merge(r.all, &r.total->hist[i]);
		r.ops_n += r.total->ops[i];
		r.errors_n += r.total->errors[i];
	}
	memcpy(
	    r.per_client, load->per_client, clients_n * sizeof(*r.per_client));
	r.seconds = load->plan->time_s;
	if (load->plan->count_n > 0)
		r.seconds = (double)(r.total->last_end_ns - times->count_ns) /
		    1e9;
	*ret = r;
	return 0;
}

void
load_result_free(struct load_result *result)
{
	free(result->total);
	free(result->all);
	free(result->per_client);
}

static void
close_all(const struct load *load)
{
	const int fds[] = { load->ready[0], load->ready[1], load->gate[0],
		load->gate[1], load->signals };

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

int
load_run(const struct bench_driver *driver, const struct bench_plan *plan,
    load_progress *progress, struct load_result *ret_result, char why[200])
{
	struct load load = {
		.driver = driver,
		.plan = plan,
		.progress = progress,
		.ready = { -1, -1 },
		.gate = { -1, -1 },
		.signals = -1,
		.told_ns = turn_now_ns(),
	};
	int status;

	load.threads_n = plan->processes_n * load_count_threads(plan);
	if (prepare(&load) < 0) {
		snprintf(
		    why, WHY_N, "cannot prepare a run: %s", strerror(errno));
		status = 2;
	} else {
		fork_all(&load);
		run_parent(&load);
		end_children(&load);
		status = atomic_load(&load.shared->failed);
		if (status)
			memcpy(why, load.shared->why, WHY_N);
		else if (sum_up(&load, ret_result) < 0)
			status = 1, snprintf(why, WHY_N, "out of memory");
	}
	if (load.shared)
		munmap(load.shared, load.shared_bytes);
	close_all(&load);
	free(load.pids);
	return status;
}
