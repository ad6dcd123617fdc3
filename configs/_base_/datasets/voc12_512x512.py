"""PASCAL VOC 2012 alone (1464 training images), 21 classes: crops of 512 x 512."""

_base_ = "./voc12aug_512x512.py"

dataset_augmented = None
train_dataloader = dict(dataset=dict(datasets=[_base_.dataset_train]))
