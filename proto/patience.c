/* patience.c - the policy of short waits. */
#include "proto/patience.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* A look that found something raises the score by half of what it lacks, one in
 * vain takes an eighth: the score stays above PAYS while at least one wait in
 * five ends within the bound. */
#define UP_SHIFT   1
#define DOWN_SHIFT 3
#define PAYS       (PATIENCE_ALL / 2)

/* When looking does not pay, one wait in so many looks all the same.  Only a
 * look can tell: a peer that is slow to be woken because both sleep is quick when
 * one of them does not. */
#define TRY_EVERY 16

/* How often the kernel is asked, less often in a crowd, where it is many who ask;
 * and how much of the time in which the thread could have run it had to wait, before
 * it leaves the core to others; below the smaller share it looks again.  Measured
 * on two cores: 55 to 75 % with 32 processes, the daemon's threads and theirs; 45 %
 * with 4, and with 2 of 4 clients each; 3 to 6 % with one. */
#define ASK_EVERY_US  10000
#define ASK_SELDOM_US 100000
#define CROWDED_SHARE 4 /* a quarter */
#define EASY_SHARE    8 /* an eighth */

void
patience_init(struct patience *p, int64_t bound_us)
{
	*p = (struct patience){ .bound_us = bound_us, .score = PATIENCE_ALL };
}

int64_t
patience_get_us(struct patience *p)
{
	p->looks = p->bound_us > 0 && !p->crowded &&
	    (p->score >= PAYS || p->unseen_n + 1 >= TRY_EVERY);
	if (p->looks)
		p->unseen_n = 0;
	else if (p->unseen_n < TRY_EVERY)
		p->unseen_n++;
	return p->looks ? p->bound_us : 0;
}

void
patience_note(struct patience *p, int64_t waited_us)
{
	if (!p->looks)
		return;
	if (waited_us <= p->bound_us)
		p->score += (PATIENCE_ALL - p->score) >> UP_SHIFT;
	else
		p->score -= p->score >> DOWN_SHIFT;
}

bool
patience_asks(const struct patience *p, int64_t now_us)
{
	return p->bound_us > 0 &&
	    now_us - p->asked_us >=
	    (p->crowded && p->asked_us ? ASK_SELDOM_US : ASK_EVERY_US);
}

void
patience_note_core(
    struct patience *p, int64_t now_us, const struct patience_core *core)
{
	if (!core) {
		p->crowded = false;
	} else if (p->asked_us) {
		int64_t queued_us = core->queued_us - p->core.queued_us;
		int64_t ready_us = core->ran_us - p->core.ran_us + queued_us;

		if (queued_us * CROWDED_SHARE >= ready_us)
			p->crowded = queued_us > 0;
		else if (queued_us * EASY_SHARE < ready_us)
			p->crowded = false;
	}
	p->asked_us = now_us;
	if (core)
		p->core = *core;
}

/* The first two numbers, in nanoseconds, of /proc/<pid>/schedstat: the kernel's
 * Documentation/scheduler/sched-stats.rst. */
static bool
read_core(struct patience_core *ret)
{
	int fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
	char text[96], *end;
	ssize_t n;

	if (fd < 0)
		return false;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	ret->ran_us = (int64_t)(strtoull(text, &end, 10) / 1000);
	ret->queued_us = (int64_t)(strtoull(end, NULL, 10) / 1000);
	return end > text;
}

void
patience_ask_core(struct patience *p, int64_t now_us)
{
	struct patience_core core;

	patience_note_core(p, now_us, read_core(&core) ? &core : NULL);
}
