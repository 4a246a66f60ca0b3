# See rules.mk. The options that OpenWrt's cmake.mk passes by itself, for a build like its own.

ifndef INCLUDE_DIR
  $(error rules.mk comes first)
endif

CMAKE_OPENWRT_OPTIONS:= \
	-DCMAKE_BUILD_TYPE=Release \
	-DCMAKE_C_FLAGS_RELEASE=-DNDEBUG \
	-DCMAKE_INSTALL_PREFIX=/usr \
	-DCMAKE_SKIP_RPATH=TRUE

define print_cmake
	@printf '%s\n' '$(CMAKE_OPENWRT_OPTIONS) $(strip $(CMAKE_OPTIONS))'
endef

cmake-options:
	$(call print_cmake)
