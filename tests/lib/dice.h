/* dice.h - numbers that look like chance, and come again: xorshift32
 * (www.jstatsoft.org/article/view/v008i14, page 4). */
#ifndef TESTS_LIB_DICE_H
#define TESTS_LIB_DICE_H

#include <stdint.h>

/* Give a number below sides.  The dice are any number but 0 at first. */
static inline uint32_t
dice_roll(uint32_t *dice, uint32_t sides)
{
	*dice ^= *dice << 13;
	*dice ^= *dice >> 17;
	*dice ^= *dice << 5;
	return *dice % sides;
}

#endif
