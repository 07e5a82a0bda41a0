/* again.c - who asked for the configuration to be read again.
 *
 * Whoever is in the line when a reading begins is answered by it; who comes later
 * sends another signal, and that is handled later.
 */
#include "daemon/again.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct again *asked;   /* under lock */
static struct again *reading; /* the main thread's */

void
again_ask(struct again *a)
{
	pthread_mutex_lock(&lock);
	a->next = asked;
	asked = a;
	pthread_mutex_unlock(&lock);
	kill(getpid(), SIGHUP); /* itself: it cannot fail */
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
