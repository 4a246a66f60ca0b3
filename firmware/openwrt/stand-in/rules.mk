# A stand-in for OpenWrt's rules.mk: the few variables that the package's Makefile uses, with the meaning and the
# modes that they have there. With it make can read the Makefile and run its recipes without a buildroot; it
# compiles nothing and knows no dependencies. What it cannot show is listed in firmware/openwrt/README.md.

INCLUDE_DIR:=$(TOPDIR)/include
SOURCE:=feeds/doorstep/doorstep
BUILD_DIR?=/nonexistent/build_dir
STAGE?=/nonexistent/stage

INSTALL_DIR:=install -d -m0755
INSTALL_BIN:=install -m0755
INSTALL_DATA:=install -m0644
INSTALL_CONF:=install -m0600
CP:=cp -fpR
