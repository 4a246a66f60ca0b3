// SPDX-License-Identifier: GPL-2.0
/*
 * Tells the kernel about the flash chips of a Malta board, which Debian's kernel knows from the
 * device tree alone and then has no driver for. JFFS2 goes into the partition "state".
 */
#include <linux/module.h>
#include <linux/mtd/partitions.h>
#include <linux/mtd/physmap.h>
#include <linux/platform_device.h>

/* the boot loader is before it, the settings of the board behind it */
static struct mtd_partition state = { .name = "state", .offset = 0x100000, .size = 0x2e0000 };

static struct physmap_flash_data chips = {
	.width = 4,
	.parts = &state,
	.nr_parts = 1,
};

static struct resource where = DEFINE_RES_MEM(0x1e000000, 0x400000);

static int __init malta_flash_init(void)
{
	return PTR_ERR_OR_ZERO(platform_device_register_resndata(NULL, "physmap-flash", 0, &where, 1,
								 &chips, sizeof(chips)));
}
module_init(malta_flash_init);

MODULE_DESCRIPTION("Flash of a Malta board");
MODULE_LICENSE("GPL");
