/* main.c - sqlpool-bench: the load generator with the daemon's driver. */
#include "client/bench/pool.h"

int
main(int argc, char **argv)
{
	return bench_main(argc, argv, &pool_driver);
}
