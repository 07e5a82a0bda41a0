/* again.c - who asked for the configuration to be read again.
 *
 * Whoever is in the line when a reading begins is answered by it.  A ring that comes
 * late finds nobody in the line, and then nothing is read: an answer that was given
 * is the last that its reading does.
 */
#include "daemon/again.h"

#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct again *asked;   /* under lock */
static struct again *reading; /* the main thread's */
static int bell = -1;

int
again_open(void)
{
	bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return bell;
}

void
again_close(void)
{
	if (bell >= 0)
		close(bell);
	bell = -1;
}

void
again_ask(struct again *a)
{
	pthread_mutex_lock(&lock);
	a->next = asked;
	asked = a;
	pthread_mutex_unlock(&lock);
	eventfd_write(bell, 1); /* it fails only when it rings already */
}

bool
again_hear(void)
{
	eventfd_t n;
	bool any;

	eventfd_read(bell, &n);
	pthread_mutex_lock(&lock);
	any = asked != NULL;
	pthread_mutex_unlock(&lock);
	return any;
}

void
again_begin(void)
{
	pthread_mutex_lock(&lock);
	reading = asked;
	asked = NULL;
	pthread_mutex_unlock(&lock);
}

void
again_say(const char *line)
{
	for (struct again *a = reading; a; a = a->next) {
		buf_put(&a->said, line, strlen(line));
		buf_put(&a->said, "\n", 1);
	}
}

void
again_end(int code)
{
	while (reading) {
		struct again *a = reading;

		reading = a->next;
		a->code = code;
		mailbox_send(a->home, a->errand); /* home waits for it */
	}
}
