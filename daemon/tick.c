/* tick.c - the bell for a fast tick. */
#include "daemon/tick.h"

#include <sys/eventfd.h>
#include <unistd.h>

_Atomic bool tick_is_fast = true;

static int bell = -1;

int
tick_open(void)
{
	bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return bell;
}

void
tick_close(void)
{
	if (bell >= 0)
		close(bell);
	bell = -1;
}

void
tick_hear(void)
{
	eventfd_t n;

	eventfd_read(bell, &n);
}

void
tick_rest(void)
{
	atomic_store(&tick_is_fast, false);
}

/* One of those who find it slow rings. */
void
tick_wake(void)
{
	if (!atomic_exchange(&tick_is_fast, true))
		eventfd_write(bell, 1);
}
