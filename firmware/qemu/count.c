/*
 * count.c - a plugin for QEMU's emulation that counts instructions.
 *
 * qemu-system-mipsel -plugin build/qemu/NAME/count.so,out=FILE ...
 *
 * FILE holds two 64-bit numbers in this machine's byte order that grow as the router runs: instructions
 * in user space, and in its kernel. Whoever maps or reads the file sees them at any time. One
 * processor only. Instructions that stop a block half way (an interrupt, a page fault) are counted
 * with the block, so the numbers are a little too large.
 *
 * The functions are those of plugin interface 1, docs/devel/tcg-plugins.rst of QEMU; Debian's packages
 * come without its header.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

struct qemu_plugin_tb;
typedef void (*translated_fn)(uint64_t id, struct qemu_plugin_tb *block);

enum inline_op { INLINE_ADD_U64 };

void     qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, translated_fn translated);
size_t   qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *block);
void     qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *block, enum inline_op op,
                                                  void *number, uint64_t add);

EXPORT int qemu_plugin_version = 1;
EXPORT int qemu_plugin_install(uint64_t id, const void *info, int argc, char **argv);

enum { USER, KERNEL, NUMBERS };

static uint64_t *numbers;

/* the kernel is in the upper half of what can be addressed, in 32 bits and in 64 */
static bool is_kernel(uint64_t address)
{
	return (address >> 63) != 0 || (address >> 31) == 1;
}

static void translated(uint64_t id, struct qemu_plugin_tb *block)
{
	uint64_t *number = &numbers[is_kernel(qemu_plugin_tb_vaddr(block)) ? KERNEL : USER];

	(void)id;
	qemu_plugin_register_vcpu_tb_exec_inline(block, INLINE_ADD_U64, number,
	                                         qemu_plugin_tb_n_insns(block));
}

int qemu_plugin_install(uint64_t id, const void *info, int argc, char **argv)
{
	const size_t size = NUMBERS * sizeof(*numbers);
	int          fd;

	(void)info;
	if (argc != 1 || strncmp(argv[0], "out=", 4) != 0)
		return -1;
	fd = open(argv[0] + 4, O_RDWR | O_CREAT | O_TRUNC, 0644);
	if (fd < 0 || ftruncate(fd, (off_t)size) != 0)
		return -1;
	numbers = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (numbers == MAP_FAILED)
		return -1;
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	return 0;
}
