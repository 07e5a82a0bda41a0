/* slice.c - how much of a turn one client may have. */
#include "daemon/slice.h"

#include "daemon/clock.h"

void
slice_begin(struct loop *loop)
{
	if (loop->now_us == 0)
		loop->now_us = clock_now_us();
}
