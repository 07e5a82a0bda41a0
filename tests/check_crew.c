/* check_crew.c - threads that run serial queues. */
#include <check.h>
#include <limits.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "daemon/crew.h"
#include "tests/lib/fixture.h"

#define THREADS_N 4
#define KICKERS_N 4
#define QUEUES_N  8
#define KICKS_N   5000 /* of each kicker, to each queue */

/* A queue of work that is only a number. */
struct counter {
	struct squeue q; /* first */
	_Atomic long given;
	long done; /* whoever runs it */
	_Atomic int running;
	_Atomic bool twice; /* two threads ran it at a time */
	_Atomic int again;  /* how often it kicks itself */
	unsigned runs_n;
};

/* How long a thread looks before it sleeps: not at all, or for ever, so that a call
 * that does not reach it is a thread that is missing. */
static int64_t poll_us;

static void
sleep_at_once(void)
{
	poll_us = 0;
}

static void
look_for_ever(void)
{
	poll_us = INT64_C(3600000000);
}

static struct crew *crew;
static struct counter counters[QUEUES_N];

static void
run_counter(struct squeue *q)
{
	struct counter *c = (struct counter *)q;

	if (atomic_fetch_add(&c->running, 1) != 0)
		atomic_store(&c->twice, true);
	c->done = atomic_load(&c->given);
	c->runs_n++;
	if (c->again > 0) {
		c->again--;
		squeue_kick(q);
	}
	atomic_fetch_sub(&c->running, 1);
}

static void
start(unsigned threads_n)
{
	ck_assert_int_eq(crew_start("test", threads_n, 0, poll_us, &crew), 0);
	for (size_t i = 0; i < QUEUES_N; i++) {
		counters[i] = (struct counter){ .given = 0 };
		squeue_init(&counters[i].q, crew, run_counter);
	}
}

static _Atomic int seen_nice;

static void
look_at_nice(struct squeue *q)
{
	(void)q;
	atomic_store(&seen_nice, getpriority(PRIO_PROCESS, (id_t)gettid()));
}

START_TEST(crew_runs_at_its_own_nice_value)
{
	int own = getpriority(PRIO_PROCESS, (id_t)gettid());
	struct squeue q;

	ck_assert_int_eq(crew_start("test", 1, 7, poll_us, &crew), 0);
	squeue_init(&q, crew, look_at_nice);
	squeue_kick(&q);
	crew_stop(crew);
	crew_free(crew);
	ck_assert_int_eq(atomic_load(&seen_nice), 7);
	ck_assert_int_eq(getpriority(PRIO_PROCESS, (id_t)gettid()), own);
}
END_TEST

static void *
kick(void *arg)
{
	(void)arg;
	for (int i = 0; i < KICKS_N; i++)
		for (size_t k = 0; k < QUEUES_N; k++) {
			atomic_fetch_add(&counters[k].given, 1);
			squeue_kick(&counters[k].q);
		}
	return NULL;
}

static void
kick_from_many(void)
{
	pthread_t kickers[KICKERS_N];

	for (size_t i = 0; i < KICKERS_N; i++)
		ck_assert_int_eq(
		    pthread_create(&kickers[i], NULL, kick, NULL), 0);
	for (size_t i = 0; i < KICKERS_N; i++)
		pthread_join(kickers[i], NULL);
}

static const unsigned crew_sizes[] = { 1, 2, THREADS_N };

/* What was given before the last kick was seen by the last run. */
START_TEST(crew_loses_no_kick_and_runs_a_queue_on_one_thread_at_a_time)
{
	start(crew_sizes[_i]);
	kick_from_many();
	crew_stop(crew);
	crew_free(crew);
	for (size_t i = 0; i < QUEUES_N; i++) {
		ck_assert_int_eq(counters[i].done, (long)KICKERS_N * KICKS_N);
		ck_assert(!counters[i].twice);
	}
}
END_TEST

START_TEST(crew_runs_a_queue_again_that_kicks_itself)
{
	start(2);
	counters[0].again = 100;
	squeue_kick(&counters[0].q);
	crew_stop(crew);
	crew_free(crew);
	ck_assert_uint_eq(counters[0].runs_n, 101);
}
END_TEST

/* A queue that keeps its thread until it is let go. */
struct gate {
	struct squeue q; /* first */
	sem_t entered, leave;
};

static void
wait_in_gate(struct squeue *q)
{
	struct gate *g = (struct gate *)q;

	sem_post(&g->entered);
	while (sem_wait(&g->leave) < 0)
		continue;
}

static void
enter(struct gate *g)
{
	sem_init(&g->entered, 0, 0);
	sem_init(&g->leave, 0, 0);
	squeue_init(&g->q, crew, wait_in_gate);
	squeue_kick(&g->q);
	while (sem_wait(&g->entered) < 0)
		continue;
}

START_TEST(crew_does_what_is_ready_before_it_stops)
{
	struct gate gate;

	start(1);
	enter(&gate);
	for (size_t i = 0; i < QUEUES_N; i++)
		squeue_kick(&counters[i].q);
	/* many kicks before a run are one */
	squeue_kick(&counters[0].q);
	sem_post(&gate.leave);
	crew_stop(crew);
	crew_free(crew);
	for (size_t i = 0; i < QUEUES_N; i++)
		ck_assert_uint_eq(counters[i].runs_n, 1);
}
END_TEST

/* A queue that always has more to do lets the others have the thread. */
struct turn {
	struct squeue q; /* first */
	unsigned left, last;
};

static unsigned turns;

static void
take_turn(struct squeue *q)
{
	struct turn *t = (struct turn *)q;

	t->last = ++turns;
	if (--t->left > 0)
		squeue_kick(q);
}

START_TEST(crew_takes_queues_in_turn)
{
	struct turn a = { .last = 0 }, b = { .last = 0 };
	struct gate gate;

	start(1);
	enter(&gate);
	squeue_init(&a.q, crew, take_turn);
	squeue_init(&b.q, crew, take_turn);
	a.left = 1000;
	b.left = 2;
	squeue_kick(&a.q);
	squeue_kick(&b.q);
	sem_post(&gate.leave);
	crew_stop(crew);
	crew_free(crew);
	ck_assert_uint_eq(b.last, 4); /* a b a b a a a ... */
	ck_assert_uint_eq(a.last, 1002);
}
END_TEST

START_TEST(crew_uses_its_other_threads_while_one_is_busy)
{
	struct gate gate, other;

	start(2);
	enter(&gate);
	enter(&other); /* it could not, with one thread */
	sem_post(&gate.leave);
	sem_post(&other.leave);
	crew_stop(crew);
	crew_free(crew);
}
END_TEST

/* Ended from the state that it is found in: idle, ready, running. */
START_TEST(crew_queue_that_was_ended_does_not_run_any_more)
{
	struct gate gate;

	start(1);
	squeue_end(&counters[0].q);
	enter(&gate);
	for (size_t i = 0; i < 3; i++)
		squeue_kick(&counters[i].q);
	squeue_end(&counters[2].q);
	squeue_kick(&counters[2].q);
	sem_post(&gate.leave);
	squeue_end(&gate.q); /* waits for it */
	ck_assert_int_eq(gate.q.state, SQUEUE_ENDED);
	squeue_kick(&counters[3].q);
	crew_stop(crew);
	crew_free(crew);
	ck_assert_uint_eq(counters[0].runs_n, 0);
	ck_assert_uint_eq(counters[1].runs_n, 1);
	ck_assert_uint_eq(counters[2].runs_n, 0);
	ck_assert_uint_eq(counters[3].runs_n, 1);
}
END_TEST

/* A queue that notes when it ran. */
struct alarm {
	struct squeue q; /* first */
	int64_t ran_us;
	sem_t ran;
};

static void
ring(struct squeue *q)
{
	struct alarm *a = (struct alarm *)q;

	a->ran_us = clock_now_us();
	sem_post(&a->ran);
}

static void
set_alarm(struct alarm *a, int64_t at_us)
{
	sem_init(&a->ran, 0, 0);
	squeue_init(&a->q, crew, ring);
	squeue_kick_at(&a->q, at_us);
}

static void
await_alarm(struct alarm *a)
{
	while (sem_wait(&a->ran) < 0)
		continue;
}

START_TEST(crew_kicks_a_queue_at_its_time)
{
	int64_t now = clock_now_us();
	struct alarm alarms[3];

	start(crew_sizes[_i]);
	for (size_t i = 0; i < 3; i++)
		set_alarm(&alarms[i], now + 30000 - (int64_t)i * 10000);
	/* of several times the earliest */
	squeue_kick_at(&alarms[0].q, now + 5000);
	squeue_kick_at(&alarms[0].q, now + 100000000);
	for (size_t i = 0; i < 3; i++)
		await_alarm(&alarms[i]);
	ck_assert_int_ge(alarms[0].ran_us, now + 5000);
	ck_assert_int_ge(alarms[1].ran_us, now + 20000);
	ck_assert_int_ge(alarms[2].ran_us, now + 10000);
	crew_stop(crew);
	crew_free(crew);
}
END_TEST

/* Also while others always have something to do; and a run comes instead. */
START_TEST(crew_kicks_at_a_time_between_other_queues)
{
	struct alarm late, early;

	start(1);
	counters[0].again = INT_MAX;
	squeue_kick(&counters[0].q);
	set_alarm(&late, clock_now_us() + 1000);
	await_alarm(&late);
	set_alarm(&early, clock_now_us() + INT64_C(3600000000));
	squeue_kick(&early.q);
	await_alarm(&early);
	ck_assert_int_eq(early.q.due_us, 0);
	counters[0].again = 0;
	crew_stop(crew);
	crew_free(crew);
}
END_TEST

START_TEST(crew_runs_what_was_for_later_before_it_stops)
{
	struct alarm a;

	start(2);
	set_alarm(&a, clock_now_us() + INT64_C(3600000000));
	crew_stop(crew);
	await_alarm(&a);
	squeue_kick_at(&a.q, 1); /* and nothing any more */
	ck_assert_int_eq(a.q.due_us, 0);
	crew_free(crew);
	start(1);
	set_alarm(&a, clock_now_us() + INT64_C(3600000000));
	squeue_end(&a.q);
	squeue_kick_at(&a.q, 1);
	crew_stop(crew);
	ck_assert_int_lt(sem_trywait(&a.ran), 0);
	crew_free(crew);
}
END_TEST

START_TEST(crew_that_was_never_started_can_be_stopped)
{
	crew_stop(NULL);
	crew_free(NULL);
	start(THREADS_N);
	crew_stop(crew);
	crew_free(crew);
}
END_TEST

static TCase *
make_tcase(const char *name, void (*setup)(void))
{
	TCase *tc = tcase_create(name);

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_loop_test(tc,
	    crew_loses_no_kick_and_runs_a_queue_on_one_thread_at_a_time, 0, 3);
	tcase_add_test(tc, crew_runs_a_queue_again_that_kicks_itself);
	tcase_add_test(tc, crew_does_what_is_ready_before_it_stops);
	tcase_add_test(tc, crew_takes_queues_in_turn);
	tcase_add_test(tc, crew_runs_at_its_own_nice_value);
	tcase_add_test(tc, crew_uses_its_other_threads_while_one_is_busy);
	tcase_add_test(tc, crew_queue_that_was_ended_does_not_run_any_more);
	tcase_add_loop_test(tc, crew_kicks_a_queue_at_its_time, 0, 3);
	tcase_add_test(tc, crew_kicks_at_a_time_between_other_queues);
	tcase_add_test(tc, crew_runs_what_was_for_later_before_it_stops);
	tcase_add_test(tc, crew_that_was_never_started_can_be_stopped);
	return tc;
}

int
main(void)
{
	Suite *s = suite_create("crew");

	suite_add_tcase(s, make_tcase("threads that sleep", sleep_at_once));
	suite_add_tcase(s, make_tcase("threads that look", look_for_ever));
	return fixture_run(s);
}
