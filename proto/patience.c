/* patience.c - the policy of short waits. */
#include "proto/patience.h"

#include <fcntl.h>
#include <stdio.h>
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

/* How often the kernel is asked, and how much of that time the thread may have
 * waited for a core before it leaves it to others; below the smaller share it
 * looks again.  Measured with 32 processes, with 2 processes of 4 clients, and
 * with one, on two cores: 35 to 45 %, 37 %, and 2 %. */
#define ASK_EVERY_US  10000
#define CROWDED_SHARE 4  /* a quarter */
#define EASY_SHARE    10 /* a tenth */

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
	return p->bound_us > 0 && now_us - p->asked_us >= ASK_EVERY_US;
}

void
patience_note_queued(struct patience *p, int64_t now_us, int64_t queued_us)
{
	int64_t passed_us = now_us - p->asked_us;
	int64_t more_us = queued_us - p->queued_us;

	if (queued_us < 0)
		p->crowded = false;
	else if (p->asked_us && more_us * CROWDED_SHARE >= passed_us)
		p->crowded = true;
	else if (p->asked_us && more_us * EASY_SHARE < passed_us)
		p->crowded = false;
	p->asked_us = now_us;
	p->queued_us = queued_us;
}

/* The second number is the time spent waiting on a run queue, in nanoseconds:
 * the kernel's Documentation/scheduler/sched-stats.rst, /proc/<pid>/schedstat.
 */
int64_t
patience_read_queued_us(void)
{
	int fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
	unsigned long long ran_ns, queued_ns;
	char text[96];
	ssize_t n;

	if (fd < 0)
		return -1;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	if (sscanf(text, "%llu %llu", &ran_ns, &queued_ns) != 2)
		return -1;
	return (int64_t)(queued_ns / 1000);
}
