"""All plugins, one line each: importing this file registers every class of every plugin.

A plugin that cannot be imported stays out without harm to the others; whoever builds it is told
what is missing (see ``mmattn.plugin_imports``).
"""

from mmattn.plugin_imports import import_plugin

import_plugin("mmattn.projects.attention_unet")
import_plugin("mmattn.projects.bevanet")
import_plugin("mmattn.projects.ccnet")
import_plugin("mmattn.projects.dynamic_head")
import_plugin("mmattn.projects.mask2former")
import_plugin("mmattn.projects.nat")
import_plugin("mmattn.projects.token_mixer_host")
import_plugin("mmattn.projects.yolov12")

import_plugin("mmattn.projects.blocks.agent_attention")
import_plugin("mmattn.projects.blocks.agent_attention_convert")
import_plugin("mmattn.projects.blocks.aggregated_attention")
import_plugin("mmattn.projects.blocks.aggregated_attention_convert")
import_plugin("mmattn.projects.blocks.attention_gate")
import_plugin("mmattn.projects.blocks.attention_gate_convert")
import_plugin("mmattn.projects.blocks.bilevel_routing_attention")
import_plugin("mmattn.projects.blocks.bilevel_routing_attention_convert")
import_plugin("mmattn.projects.blocks.cbam")
import_plugin("mmattn.projects.blocks.cbam_convert")
import_plugin("mmattn.projects.blocks.contmix")
import_plugin("mmattn.projects.blocks.conv_glu")
import_plugin("mmattn.projects.blocks.coordinate_attention")
import_plugin("mmattn.projects.blocks.eca")
import_plugin("mmattn.projects.blocks.eca_convert")
import_plugin("mmattn.projects.blocks.ela")
import_plugin("mmattn.projects.blocks.ela_convert")
import_plugin("mmattn.projects.blocks.focused_linear_attention")
import_plugin("mmattn.projects.blocks.focused_linear_attention_convert")
import_plugin("mmattn.projects.blocks.global_context")
import_plugin("mmattn.projects.blocks.hilo")
import_plugin("mmattn.projects.blocks.inline_attention")
import_plugin("mmattn.projects.blocks.inline_attention_convert")
import_plugin("mmattn.projects.blocks.rala")
import_plugin("mmattn.projects.blocks.scale_aware_modulation")
import_plugin("mmattn.projects.blocks.scale_aware_modulation_convert")
import_plugin("mmattn.projects.blocks.simam")
import_plugin("mmattn.projects.blocks.squeeze_excitation")
import_plugin("mmattn.projects.blocks.triplet_attention")
import_plugin("mmattn.projects.blocks.triplet_attention_convert")
import_plugin("mmattn.projects.blocks.vsa")
import_plugin("mmattn.projects.blocks.vsa_convert")
