#include "supervisor/os/populate.h"

#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "supervisor/os/sys.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

void populate(void *memory, size_t size)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin = ((uintptr_t)memory + page - 1) / page * page;
	uintptr_t end = ((uintptr_t)memory + size) / page * page;

	if (memory && end > begin)
		(void)madvise((char *)memory + (begin - (uintptr_t)memory), end - begin, MADV_POPULATE_WRITE);
}
