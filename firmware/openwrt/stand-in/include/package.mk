# See rules.mk. Sections are printed one a line, for programs; `install` runs the recipe into STAGE.

ifeq ($(strip $(PKG_NAME)$(PKG_VERSION)$(PKG_RELEASE)),)
  $(error PKG_NAME, PKG_VERSION and PKG_RELEASE come before package.mk)
endif

PKG_BUILD_DIR?=$(BUILD_DIR)/$(PKG_NAME)-$(PKG_VERSION)
PKG_INSTALL_DIR?=$(PKG_BUILD_DIR)/ipkg-install
VERSION:=$(PKG_VERSION)-r$(PKG_RELEASE)

# one assignment of Package/NAME after the other, as OpenWrt evaluates them
define BuildPackage
  $(eval $(Package/$(1)))
  PACKAGE:=$(1)
  export CONFFILES:=$$(value Package/$(1)/conffiles)
  export DESCRIPTION:=$$(value Package/$(1)/description)
  export PRERM:=$$(Package/$(1)/prerm)
  export POSTINST:=$$(Package/$(1)/postinst)
  export CONFIG_IN:=$$(Package/$(1)/config)

  show:
	@printf '%s=%s\n' name '$(1)' version '$(VERSION)' section '$(SECTION)' category '$(CATEGORY)' \
		submenu '$(SUBMENU)' title '$(TITLE)' depends '$(DEPENDS)' userid '$(USERID)' \
		maintainer '$(PKG_MAINTAINER)' license '$(PKG_LICENSE)' license_files '$(PKG_LICENSE_FILES)' \
		build_flags '$(PKG_BUILD_FLAGS)' pie '$(PKG_ASLR_PIE_REGULAR)' \
		config_depends '$(strip $(PKG_CONFIG_DEPENDS))' file_depends '$(strip $(PKG_FILE_DEPENDS))' \
		cmake_options '$(strip $(CMAKE_OPTIONS))'
  conffiles:
	@printf '%s\n' "$$$$CONFFILES"
  description:
	@printf '%s\n' "$$$$DESCRIPTION"
  prerm:
	@printf '%s\n' "$$$$PRERM"
  postinst:
	@printf '%s\n' "$$$$POSTINST"
  config-in:
	@printf '%s\n' "$$$$CONFIG_IN"
  prepare:
	$$(call Build/Prepare)
  install:
	$$(call Package/$(1)/install,$(STAGE))
  .PHONY: show conffiles description prerm postinst config-in prepare install
endef
